"""Holds one frame between the reader and the producer; a newer frame replaces one that was not taken in time."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """Hands items from one thread to another without ever blocking the sender.

    Two plain locks: a Condition runs Python code for each wait, which leaves the CPU cache between two 1080p frames.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Lock()  # locked while there is nothing to take
        self._wake.acquire()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Stores `item`; returns True if it replaced one that was not taken."""
        with self._lock:
            replaced = self._item is not None
            self._item = item
            self._signal()
        return replaced

    def take(self, timeout_s: float) -> T | None:
        """Returns the newest item, waiting at most `timeout_s`; None if there is none or the slot is closed.

        For one thread. It may return None early, if it took an item that came while it was taking the one before.
        """
        self._wake.acquire(timeout=timeout_s)
        with self._lock:
            item, self._item = self._item, None
            if self._closed:
                self._signal()
        return item

    def close(self) -> None:
        """Wakes the receiver; later calls of `take` do not wait."""
        with self._lock:
            self._closed = True
            self._signal()

    def _signal(self) -> None:
        if self._wake.locked():
            self._wake.release()
