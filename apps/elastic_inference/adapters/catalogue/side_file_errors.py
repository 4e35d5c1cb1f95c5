"""Says in one sentence what is wrong in a side file or a catalogue, and what was expected. Called by `entries`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

# What the keys of a side file hold; other errors are said as pydantic says them.
_EXPECTED = {
    "labels": "a list of names by class number, such as [person, car], or a mapping such as {0: person, 1: car}, each "
    "with at most {max_label} characters",
    "threshold": "a number from 0 to 1",
    "overlap": "a number over 0, at most 1",
    "colour": "BGR or RGB",
    "mean": "a number from 0 to 255, or a list of three",
    "scale": "a number other than 0, or a list of three",
    "size": "a number, or [width, height], each from 16 to 8192",
    "configuration": "a mapping",
}
# Keys that hold the class names in the files of training tools.
_NAMES = ("names", "classes", "class_names")


def side_file_words(error: ValidationError, keys: Sequence[str], *, max_label: int) -> str:
    """`KEY: what was expected` for the first wrong key."""
    first = error.errors(include_url=False, include_input=False)[0]
    location = [str(part)[:64] for part in first["loc"]]
    if first["type"] == "unexpected_keyword_argument" and len(location) == 1:
        return f"{location[0]}: there is no such key. {_instead(location[0], keys)}"
    if first["type"] != "value_error" and location and location[0] in _EXPECTED:
        return f"{location[0]}: expected {_EXPECTED[location[0]].replace('{max_label}', str(max_label))}"
    words = str(first["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(location) or 'the whole'}: {words}"


def _instead(key: str, keys: Sequence[str]) -> str:
    if key in _NAMES:
        return "Class names are given as `labels`"
    close = difflib.get_close_matches(key, keys, n=1)
    return f"Did you mean {close[0]}?" if close else f"Expected keys: {', '.join(keys)}"


def no_switch(value: Any) -> Any:
    """For a number: refuses YAML's `on` and `no`, which count as 1 and 0. Raises ValueError."""
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(part, bool) for part in parts):
        raise ValueError("expected a number: YAML reads on, off, yes and no as true and false")
    return value
