"""A setting: a field of a dataclass with its description, and how its value is made from text.

`setting` declares one, and `settings_of` lists those of a class. A service reads its settings at each start, so this
needs the standard library alone (ADR 31).
"""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

REQUIRED = dataclasses.MISSING
_WORDS = {
    **{"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False},
    **{"1": True, "0": False, "t": True, "f": False, "y": True, "n": False},
}
_NUMBERS = {int: "an integer", float: "a number"}


class Bounds(NamedTuple):
    """A number is at least `ge`, more than `gt` and at most `le`."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None

    def __str__(self) -> str:
        words = ("at least", "more than", "at most")
        return ", ".join(f"{word} {limit}" for word, limit in zip(words, self, strict=True) if limit is not None)

    def allow(self, number: float) -> bool:
        """Whether the number is within them."""
        return (
            (self.ge is None or number >= self.ge)
            and (self.gt is None or number > self.gt)
            and (self.le is None or number <= self.le)
        )


@dataclasses.dataclass(frozen=True)
class Setting:
    """A setting of a service.

    `kind` is its type without None: int, float, bool, str, tuple[str, ...], Path, Secret, an Enum or a Literal. `marks`
    are what its annotation has beside the type. A function there checks the text, or the tuple of texts, and may change
    it; it raises ValueError.
    """

    name: str
    kind: Any
    default: Any
    description: str
    limits: Bounds
    marks: tuple[Any, ...]

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED

    def value(self, text: str) -> Any:
        """The value from text, as an environment variable has it. Raises ValueError that says what is expected."""
        given: Any = text.strip()
        if get_origin(self.kind) is tuple:
            given = tuple(part.strip() for part in given.split(",") if part.strip())
        for mark in self.marks:
            given = mark(given) if callable(mark) else given
        if get_origin(self.kind) is tuple:
            return given
        words = self._words()
        if words is not None:
            if given not in words:
                raise ValueError(f"expected one of {', '.join(words)}")
            return words[given]
        return self._number(given) if self.kind in _NUMBERS else self.kind(given)

    def _words(self) -> Mapping[str, Any] | None:
        """What the text can be, with the value that it stands for; None if it can be anything."""
        if self.kind is bool:
            return _WORDS
        if get_origin(self.kind) is Literal:
            return {choice: choice for choice in get_args(self.kind)}
        return {each.value: each for each in self.kind} if issubclass(self.kind, Enum) else None

    def _number(self, text: str) -> float:
        whole, point, rest = text.partition(".")
        try:
            # An integer may be written as 5.0.
            number: float = self.kind(whole if self.kind is int and point and not rest.strip("0") else text)
        except ValueError:
            number = float("nan")
        if not self.limits.allow(number):
            limits = f", {self.limits}" if any(each is not None for each in self.limits) else ""
            raise ValueError(f"expected {_NUMBERS[self.kind]}{limits}")
        return number


def setting(
    default: Any = REQUIRED,
    *,
    description: str,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
) -> Any:
    """A field of a dataclass that is a setting. Without a default, it must be set."""
    return dataclasses.field(default=default, metadata={"description": description, "limits": Bounds(ge, gt, le)})


def text_of(value: Any) -> str:
    """The text from which `Setting.value` makes the value, unless it is None or a secret."""
    # An empty text is no setting.
    return ",".join(value) or "," if isinstance(value, tuple) else str(value)


def settings_of(settings_class: Any) -> dict[str, Setting]:
    """The settings of a class, or of an object of it, by the names of their fields."""
    return {each.name: _setting(each) for each in dataclasses.fields(settings_class)}


def _setting(field: Any) -> Setting:
    kind, marks = _parts(field.type)
    limits = next((mark for mark in marks if isinstance(mark, Bounds)), field.metadata["limits"])
    return Setting(field.name, kind, field.default, field.metadata["description"], limits, marks)


def _parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type in an annotation, without None, and its marks."""
    if get_origin(annotation) is Annotated:
        kind, marks = _parts(annotation.__origin__)
        return kind, (*marks, *annotation.__metadata__)
    members = get_args(annotation)
    if NoneType in members:
        return _parts(next(each for each in members if each is not NoneType))
    return annotation, ()
