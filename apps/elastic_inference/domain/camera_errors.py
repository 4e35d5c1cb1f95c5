"""Describes what is wrong with a camera's specification, in a sentence for each field."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from elastic_inference.domain import keys
from elastic_inference.domain.errors import ElasticInferenceError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_FIELDS_SHOWN = 20
_SENTENCE_CHARACTERS = 400
_KINDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "it is required",
    "string_unicode": lambda _: "expected a text in UTF-8",
    "string_type": lambda _: "expected a text; in YAML, put it in quotes",
    "bool_type": lambda _: "expected true or false",
    "bool_parsing": lambda _: "expected true or false",
    "int_type": lambda _: "expected a whole number",
    "int_parsing": lambda _: "expected a whole number",
    "int_from_float": lambda _: "expected a whole number",
    "float_type": lambda _: "expected a number",
    "float_parsing": lambda _: "expected a number",
    "finite_number": lambda _: "expected a number",
    "tuple_type": lambda _: "expected a list",
    "list_type": lambda _: "expected a list",
    "dict_type": lambda _: "expected a mapping of names to texts",
    "model_type": lambda _: "expected a mapping",
    "model_attributes_type": lambda _: "expected a mapping",
    "greater_than": lambda found: f"expected more than {found['gt']:g}",
    "greater_than_equal": lambda found: f"expected at least {found['ge']:g}",
    "less_than": lambda found: f"expected less than {found['lt']:g}",
    "less_than_equal": lambda found: f"expected at most {found['le']:g}",
    "enum": lambda found: f"expected one of {str(found['expected']).replace(' or ', ', ')}",
    "string_too_long": lambda found: f"expected at most {found['max_length']} characters",
    "string_too_short": lambda found: (
        "expected a text, but it is empty"
        if found["min_length"] == 1
        else f"expected at least {found['min_length']} characters"
    ),
    "too_long": lambda found: f"expected at most {found['max_length']} entries",
    "too_short": lambda found: f"expected at least {_entries(found['min_length'])}",
}
# The fields' patterns, in words.
_PATTERNS = {
    "name": keys.NAME_RULE,
    "types": keys.NAME_RULE,
    "certificate": "expected sha256:<64 hexadecimal digits>, or the name of a .pem file without its folder",
    "login_secret": "expected the name of a Secret: lower-case letters, digits, '-' and '.'",
}
# Nested fields.
_NESTED = {
    "login": ("user", "password"),
    "zones": ("name", "points", "labels", "dwell_s", "point"),
    "lines": ("name", "from", "to", "labels", "point"),
}


class CameraRefusal(ElasticInferenceError):
    """A rejected change or specification: an HTTP status, a sentence, and one sentence for each wrong field."""

    def __init__(self, status: int, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.fields = dict(fields or {})


def field_sentences(error: ValidationError, model: type[BaseModel]) -> dict[str, str]:
    """Each wrong field with a sentence, such as {"login.password": "It is required."}; no value is shown."""
    found: dict[str, str] = {}
    for each in error.errors(include_url=False, include_input=False)[:_FIELDS_SHOWN]:
        field, words = _field(each["loc"], model), _words(each, model)
        found.setdefault(field, sentence(words))
    return found


def wrong_fields(fields: Mapping[str, str]) -> CameraRefusal:
    """The CameraRefusal for a specification with these wrong fields."""
    first, words = next(iter(fields.items()))
    return CameraRefusal(400, f"{first}: {words}", fields)


def sentence(words: str) -> str:
    """`text` with a capital letter and a full stop."""
    cut = words.strip()[:_SENTENCE_CHARACTERS]
    return cut[:1].upper() + cut[1:] + ("" if cut.endswith((".", "?")) else ".")


def _field(location: Sequence[int | str], model: type[BaseModel]) -> str:
    """The field as a client writes it; a wrong name is cut, since it comes from outside."""
    parts = [str(part)[:64] for part in location if part != "[key]"]
    if not parts:
        return "login" if "login" in model.model_fields else "url"
    return ".".join(parts[:3])


def _words(found: Any, model: type[BaseModel]) -> str:
    kind, location = str(found["type"]), found["loc"]
    if kind == "value_error":
        return str(found["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        names = _NESTED[str(location[0])] if len(location) > 1 else tuple(model.model_fields)
        return f"there is no such field; expected one of {', '.join(names)}"
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(location[-1]), _PATTERNS.get(str(location[0]), "expected other characters"))
    make = _KINDS.get(kind)
    return make(found.get("ctx", {})) if make else str(found["msg"])


def _entries(count: int) -> str:
    return "one entry" if count == 1 else f"{count} entries"
