"""What JSON Schema says of a field, for classes that services load without pydantic (ADR 31)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Described:
    """In the annotation of a field: its description, and keywords of JSON Schema such as `minimum`. Checks nothing."""

    def __init__(self, description: str, **keywords: object) -> None:
        self._keywords = {"description": description, **keywords}

    def __get_pydantic_json_schema__(self, schema: Any, make: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**make(schema), **self._keywords}
