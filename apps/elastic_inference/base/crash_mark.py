"""Marks a thread with what it works for, so that the traceback of a crash shows it.

`faulthandler` writes no identity of the crashed thread, only files, lines and functions: the mark is such a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from types import FunctionType

_MARK = re.compile(r'^ *File "<mark: ([^">]+)>"', re.MULTILINE)


def _call(function: Callable[..., None], *arguments: object) -> None:
    function(*arguments)


def marked(mark: str, function: Callable[..., None]) -> Callable[..., None]:
    """`function`, to be called at the start of a thread."""
    return partial(FunctionType(_call.__code__.replace(co_filename=f"<mark: {mark}>"), globals()), function)


def mark_in(report: str) -> str | None:
    """The mark in `faulthandler`'s report of one thread, None if it has none."""
    found = _MARK.search(report)
    return found[1] if found is not None else None
