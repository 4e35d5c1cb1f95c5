"""Applies a change to a camera's specification. Pure; used by the owner of the cameras and by probes.

A login is accepted but never returned: a change without `login` keeps it, and the value *** in a URL's query keeps the
value that it hides. But only for the same host: a user who may change cameras must not learn a login by redirecting it
to a machine of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_errors import CameraRefusal, field_sentences, wrong_fields
from elastic_inference.domain.hidden_url import HIDDEN, hides_path

# The API's path for probes would hide a camera of this name.
RESERVED_NAMES = ("probe",)
_MAX_DEPTH = 4
Model = TypeVar("Model", bound=BaseModel)


def new_camera(given: object) -> CameraSpec:
    """The specification of a new camera. Raises CameraRefusal."""
    document = _mapping(given)
    spec = read_model(CameraSpec, document)
    if spec.name in RESERVED_NAMES:
        raise wrong_fields({"name": f"Expected another name: {spec.name} is a path of the API."})
    for field in ("url", "substream"):
        url = getattr(spec, field)
        if url is not None and (_hidden_names(url) or hides_path(url)):
            raise wrong_fields({field: f"Expected the values instead of {HIDDEN}."})
    return spec


def replaced(current: CameraSpec, given: object) -> CameraSpec:
    """`current` replaced by a whole specification, whose name may be left out. Raises CameraRefusal."""
    return _changed(current, {"name": current.name} | _mapping(given), _mapping(given))


def patched(current: CameraSpec, given: object) -> CameraSpec:
    """`current` with a JSON merge patch (RFC 7396). Raises CameraRefusal."""
    patch = _mapping(given)
    document = current.model_dump(mode="json", exclude_unset=True)
    if current.login is not None:
        document["login"]["password"] = current.login.password.get_secret_value()
    return _changed(current, _merged(document, patch, 0), patch)


def same_host(current: CameraSpec, url: str) -> bool:
    """Whether a URL goes to a host of this camera."""
    return _host(url) in _hosts(current)


def reveal(field: str, url: str, known: CameraSpec) -> str:
    """`url` with each *** in it replaced by the known camera's value. Raises CameraRefusal if there is none.

    In the path, the whole URL must be the one that was shown.
    """
    names = _hidden_names(url)
    if not names and not hides_path(url):
        return url
    shown = known.public()
    for each in dict.fromkeys((field, "url", "substream")):
        if url == getattr(shown, each):
            return str(getattr(known, each))
    if hides_path(url):
        raise wrong_fields({field: f"Expected the values instead of {HIDDEN}: the address has changed."})
    values = dict(_pairs(getattr(known, field)))
    if not same_host(known, url) or not names <= values.keys():
        raise wrong_fields({field: f"Expected the values of the query instead of {HIDDEN}: the address has changed."})
    query = "&".join(
        f"{name}={values[name]}" if value == HIDDEN else f"{name}={value}" if equals else name
        for name, equals, value in _raw_pairs(url)
    )
    return urlsplit(url)._replace(query=query).geturl()


def read_model(model: type[Model], document: Mapping[str, Any]) -> Model:
    """Parses what a client sent as `model`. Raises CameraRefusal that names each wrong field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise wrong_fields(field_sentences(error, model)) from None


def _changed(current: CameraSpec, document: dict[str, Any], given: Mapping[str, Any]) -> CameraSpec:
    if document.get("name") != current.name:
        raise wrong_fields({"name": f"Expected {current.name}: a camera keeps its name. Add a new one instead."})
    keeps_login = "login" not in given and not given.get("login_secret")
    if "login" not in given:
        document.pop("login", None)
    spec = read_model(CameraSpec, document)
    urls = {field: url for field in ("url", "substream") if (url := getattr(spec, field)) is not None}
    revealed = {field: reveal(field, url, current) for field, url in urls.items()}
    if revealed != urls:
        spec = read_model(CameraSpec, document | revealed)
    if current.login is None or spec.login_secret is not None:
        return spec
    login = given.get("login")
    if keeps_login or (isinstance(login, dict) and "password" not in login):
        _check_same_hosts(current, spec)
    return spec.model_copy(update={"login": current.login}) if keeps_login else spec


def _check_same_hosts(current: CameraSpec, spec: CameraSpec) -> None:
    if not _hosts(spec) <= _hosts(current):
        raise wrong_fields(
            {"login": "Expected the login again, or null for none: the address has another host than before."}
        )


def _hosts(spec: CameraSpec) -> set[str]:
    return {_host(url) for url in (spec.url, spec.substream) if url is not None}


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _merged(target: Any, patch: Mapping[str, Any], depth: int) -> dict[str, Any]:
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and depth < _MAX_DEPTH:
            result[name] = _merged(result.get(name), value, depth + 1)
        else:
            result[name] = value
    return result


def _mapping(given: object) -> dict[str, Any]:
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise CameraRefusal(400, "Expected a JSON object with the fields of a camera.")
    return given


def _raw_pairs(url: str | None) -> list[tuple[str, str, str]]:
    query = urlsplit(url or "").query
    return [pair.partition("=") for pair in query.split("&")] if query else []


def _pairs(url: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in _raw_pairs(url)]


def _hidden_names(url: str | None) -> set[str]:
    return {name for name, value in _pairs(url) if value == HIDDEN}
