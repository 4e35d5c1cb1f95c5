"""Counts a partition's events that some sink has not confirmed: these are lost if Redis loses its data. Pure.

Called by `event_worker`. It knows what this worker has written since it took the partition. Once a second it learns
how far the slowest sink is. So it may count a little too much, never too little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from elastic_inference.adapters.event_store import EntryId

# Maximum number of batches; older ones are merged.
MAX_BATCHES = 1024


class Undelivered:
    """The count of unconfirmed events of one partition. Not thread-safe."""

    def __init__(self) -> None:
        # (id of a batch's last event, number of its events).
        self._batches: deque[tuple[EntryId, int]] = deque()
        self.count = 0

    def written(self, newest: EntryId, count: int, length: int) -> None:
        """Records that a batch added `count` events. `newest` is the last one's id, `length` the outbox' new length."""
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
        """Takes the sinks' cursors. Without a sink, no event is waiting."""
        slowest = min(cursors, default=None)
        while self._batches and (slowest is None or self._batches[0][0] <= slowest):
            self.count -= self._batches.popleft()[1]

    def lost(self) -> int:
        """Resets the count because Redis has lost its data; returns how many events were lost."""
        count, self.count = self.count, 0
        self._batches.clear()
        return count
