"""How many events of a partition some sink has not confirmed yet: what is lost if Redis loses its data. Pure.

Called by `event_worker`. It knows what this worker has written since it took the partition. Once a second it learns
how far the slowest sink is. So it may count a little too much, never too little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from elastic_inference.adapters.event_store import EntryId

# Batches that are remembered one by one; older ones count together.
MAX_BATCHES = 1024


class Undelivered:
    """Not thread-safe."""

    def __init__(self) -> None:
        # The id of the last event of a batch, and how many there were.
        self._batches: deque[tuple[EntryId, int]] = deque()
        self.count = 0

    def written(self, newest: EntryId, count: int, length: int) -> None:
        """A batch added `count` events; the newest has this id, and the outbox holds `length`."""
        if count:
            self._batches.append((newest, count))
            self.count += count
        if len(self._batches) > MAX_BATCHES:
            (_, first), (last, second) = self._batches.popleft(), self._batches.popleft()
            self._batches.appendleft((last, first + second))
        while self._batches and self.count > length:
            # The oldest events are no longer in the outbox.
            last, first = self._batches.popleft()
            gone = min(first, self.count - length)
            self.count -= gone
            if first > gone:
                self._batches.appendleft((last, first - gone))

    def confirmed(self, cursors: Collection[EntryId]) -> None:
        """The sinks' cursors; without a sink nobody waits for an event."""
        slowest = min(cursors, default=None)
        while self._batches and (slowest is None or self._batches[0][0] <= slowest):
            self.count -= self._batches.popleft()[1]

    def lost(self) -> int:
        """Redis has lost them all: how many there were."""
        count, self.count = self.count, 0
        self._batches.clear()
        return count
