"""Room for one picture between the reader and the pusher: a newer one replaces what was not taken in time."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """A hand-over from one thread to another that never blocks the giver."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Leaves `item`; True when it replaced one that nobody took."""
        with self._condition:
            replaced = self._item is not None
            self._item = item
            self._condition.notify()
        return replaced

    def take(self, timeout_s: float) -> T | None:
        """The newest item, waited for `timeout_s` at most; None when there was none, or the slot is closed."""
        with self._condition:
            if self._item is None and not self._closed:
                self._condition.wait(timeout_s)
            item, self._item = self._item, None
        return item

    def close(self) -> None:
        """Wakes the taker, who no longer waits from now on."""
        with self._condition:
            self._closed = True
            self._condition.notify()
