"""A number of bytes that threads share: a thread waits if it wants more than is left; first come, first served.

Called around each decoding of an image. Pure: it only counts. A small part never waits behind a large one: an ordinary
image takes milliseconds, one that takes much memory takes seconds.
"""

from __future__ import annotations

import threading
from collections import deque

# This share of the budget is a small part.
_SMALL = 1 / 32


class ByteBudget:
    """A shared memory budget. Thread-safe. A waiting thread must hold no bytes, or two could deadlock."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._used = 0
        # Of the condition, whose own methods cost more.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[object] = deque()

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        return self._used

    def fits(self, count: int) -> bool:
        """Whether `count` bytes can ever be taken."""
        return count <= self.total

    def take(self, count: int, timeout_s: float | None = None) -> bool:
        """Takes `count` bytes, which must fit, as soon as they are free; `give_back` them. False after the time-out."""
        with self._lock:
            if (self._waiting and count > _SMALL * self.total) or self._used + count > self.total:
                turn = object()
                self._waiting.append(turn)
                free = self._changed.wait_for(
                    lambda: self._waiting[0] is turn and self._used + count <= self.total, timeout_s
                )
                self._waiting.remove(turn)
                # The next may fit too.
                self._changed.notify_all()
                if not free:
                    return False
            self._used += count
            return True

    def resize(self, count: int) -> None:
        """Makes the budget larger by `count` bytes, or smaller; threads then wait until enough has been given back."""
        with self._changed:
            self.total += count
            self._changed.notify_all()

    def give_back(self, count: int) -> None:
        """Returns bytes that were taken."""
        with self._lock:
            self._used -= count
            if self._waiting:
                self._changed.notify_all()
