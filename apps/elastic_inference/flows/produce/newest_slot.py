"""Holds one frame between the reader and the producer; a newer frame replaces one that was not taken in time."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """Hands items from one thread to another without ever blocking the sender."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Stores `item`; returns True if it replaced one that was not taken."""
        with self._condition:
            replaced = self._item is not None
            self._item = item
            self._condition.notify()
        return replaced

    def take(self, timeout_s: float) -> T | None:
        """Returns the newest item, waiting at most `timeout_s`; None if there is none or the slot is closed."""
        with self._condition:
            if self._item is None and not self._closed:
                self._condition.wait(timeout_s)
            item, self._item = self._item, None
        return item

    def close(self) -> None:
        """Wakes the receiver; later calls of `take` do not wait."""
        with self._condition:
            self._closed = True
            self._condition.notify()
