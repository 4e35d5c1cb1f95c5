"""Waiting on conditions with a deadline, never for a fixed time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
# Slow machines stretch every deadline with one factor.
TIME_FACTOR = float(os.environ.get("EI_TEST_TIME_FACTOR", "1"))


def busy() -> float:
    """How many times longer things take, since others use the machine too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _pause_s(every_s: float | None, began: float) -> float:
    """The pause before the next look. It grows with the wait, since a look often costs a request or a subprocess."""
    return min(0.1, max(0.02, (time.monotonic() - began) / 20)) if every_s is None else every_s


def wait_for(
    condition: Callable[[], T], timeout_s: float = 20.0, what: str = "the condition", every_s: float | None = None
) -> T:
    """The first true value of `condition`. Raises AssertionError with the text `what` if there is none in time."""
    began = time.monotonic()
    deadline = began + timeout_s * TIME_FACTOR
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what} did not come true within {timeout_s * TIME_FACTOR:.0f} s; last value: {value!r}"
            )
        time.sleep(_pause_s(every_s, began))


async def wait_for_async(
    condition: Callable[[], Awaitable[T] | T],
    timeout_s: float = 20.0,
    what: str = "the condition",
    every_s: float | None = None,
) -> T:
    """As `wait_for`, on the event loop; the condition may be a coroutine function."""
    began = time.monotonic()
    deadline = began + timeout_s * TIME_FACTOR
    while True:
        value = condition()
        if isinstance(value, Awaitable):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what} did not come true within {timeout_s * TIME_FACTOR:.0f} s; last value: {value!r}"
            )
        await asyncio.sleep(_pause_s(every_s, began))
