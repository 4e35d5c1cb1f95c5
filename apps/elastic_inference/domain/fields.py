"""Field types that frames, results and the gateway's documents share, with their limits and rounding.

A document is a dataclass. Pydantic makes its reader, its JSON and its JSON Schema from the annotations of its fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, PlainSerializer, ValidationError
from pydantic_core import to_json

from elastic_inference.domain import keys

MAX_ATTRIBUTES = 32
MAX_ATTRIBUTE_NAME = 64
MAX_ATTRIBUTES_BYTES = 4096
_NAME = keys.NAME_PATTERN.pattern
_SHOWN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}|[0-9]{1,4}")


def rounded(digits: int) -> PlainSerializer:
    """Rounds a number when it is written as JSON."""
    return PlainSerializer(lambda number: round(number, digits), return_type=float)


def _limit_size(attributes: dict[str, JsonValue]) -> dict[str, JsonValue]:
    size = len(to_json(attributes))
    if size > MAX_ATTRIBUTES_BYTES:
        raise ValueError(f"attributes of {size} bytes of JSON, at most {MAX_ATTRIBUTES_BYTES} are accepted")
    return attributes


Name = Annotated[str, Field(pattern=f"^{_NAME}$")]
StreamId = Annotated[str, Field(pattern=f"^{_NAME}:{_NAME}:inferred$")]
Milliseconds = Annotated[float, rounded(2)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0)]
Pixels = Annotated[int, Field(ge=1, description="Of the frame, pixels.")]
Attributes = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=MAX_ATTRIBUTE_NAME)], JsonValue],
    Field(max_length=MAX_ATTRIBUTES),
    AfterValidator(_limit_size),
]


def shown_key(key: object) -> str:
    """A key as errors show it: a key that looks neither like a field nor like a number may be a misplaced password."""
    return key if isinstance(key, str) and _SHOWN.fullmatch(key) else "a key"


def shown_location(parts: Iterable[str]) -> str:
    """Where a wrong value is, such as `login.password` or `types.1`: up to the first key that may not be shown."""
    shown = []
    for part in parts:
        shown.append(shown_key(part))
        if shown[-1] != part:
            break
    return ".".join(shown)


def first_mistake(error: ValidationError) -> str:
    """What is wrong and where, to follow `invalid …`. It quotes none of the input."""
    wrong = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, wrong["loc"]))[:100]
    return f"{f', field {where}' if where else ''}: {wrong['msg']}"
