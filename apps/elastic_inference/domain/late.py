"""Modules that are loaded when one of their names is first used.

Annotations are texts until pydantic makes a reader or a schema of their class. So a service can use a document's class
without pydantic, if the class's module knows pydantic and the field types as late modules only (ADR 32).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import ConfigDict

C = TypeVar("C", bound=type)
# A document with other fields is refused.
CLOSED: ConfigDict = {"extra": "forbid", "defer_build": True}


class _LateModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        found = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, found)
        return found


def late(name: str) -> Any:
    """The module of this name, which is loaded when a name of it is first used."""
    return _LateModule(name)


def with_config(config: ConfigDict) -> Callable[[C], C]:
    """Decorator of a dataclass: says how pydantic reads it, as pydantic's own does."""

    def decorate(kind: C) -> C:
        kind.__pydantic_config__ = config  # type: ignore[attr-defined]
        return kind

    return decorate
