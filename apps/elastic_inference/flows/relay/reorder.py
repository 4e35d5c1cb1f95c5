"""One stream's results put back in order. Pure: the caller brings the clock and owns the timer.

Two pods that serve one stream finish its frames out of order. `order` is gapless per stream, so a missing predecessor
is known to be on its way, or lost. Called by `watched_stream`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

# What one stream may hold back: more than any real stream sends within the window.
_MAX_HELD = 64
_MAX_HELD_BYTES = 16 * 1024 * 1024
# Nothing passed for so long while older numbers kept coming: the numbers began anew (a broker moved to a host whose
# clock is behind), and waiting for them to catch up would be waiting for ever.
RESET_AFTER_S = 5.0


class Reorder(Generic[T]):
    """Lets items pass in rising `order` only, holding each back at most `window_s` for a missing predecessor.

    Times are seconds of one monotonic clock. Items that come after a successor of theirs has passed are dropped and
    counted in `late`.
    """

    def __init__(self, window_s: float) -> None:
        self.late = 0
        self._window_s = window_s
        self._last: int | None = None
        self._passed_at_s = 0.0
        self._held: dict[int, tuple[float, int, T]] = {}
        self._held_bytes = 0

    def push(self, order: int, item: T, now_s: float, size_bytes: int = 0) -> list[T]:
        """Takes one item in; what may pass now, in order."""
        if self._last is not None and order <= self._last:
            if self._held or now_s - self._passed_at_s < RESET_AFTER_S:
                self.late += 1
                return []
            self._last = None
        if order in self._held:
            self.late += 1
            return []
        if self._last is None or order == self._last + 1:
            self._pass(order, now_s)
            return [item, *self._take_following(now_s)]
        self._held[order] = (now_s + self._window_s, size_bytes, item)
        self._held_bytes += size_bytes
        passed = self.expire(now_s)
        while len(self._held) > _MAX_HELD or self._held_bytes > _MAX_HELD_BYTES:
            passed += self._release_up_to(min(self._held), now_s)
        return passed

    def expire(self, now_s: float) -> list[T]:
        """What has waited its time, and what stands before it: passes now, in order."""
        expired = [order for order, (deadline_s, _, _) in self._held.items() if deadline_s <= now_s]
        return self._release_up_to(max(expired), now_s) if expired else []

    def deadline_s(self) -> float | None:
        """When `expire` has something to do next; None while nothing is held back."""
        return min((deadline_s for deadline_s, _, _ in self._held.values()), default=None)

    def __len__(self) -> int:
        return len(self._held)

    def _release_up_to(self, limit: int, now_s: float) -> list[T]:
        passed = [self._take(order, now_s) for order in sorted(self._held) if order <= limit]
        return passed + self._take_following(now_s)

    def _take_following(self, now_s: float) -> list[T]:
        passed = []
        while self._last is not None and self._last + 1 in self._held:
            passed.append(self._take(self._last + 1, now_s))
        return passed

    def _take(self, order: int, now_s: float) -> T:
        _, size_bytes, item = self._held.pop(order)
        self._held_bytes -= size_bytes
        self._pass(order, now_s)
        return item

    def _pass(self, order: int, now_s: float) -> None:
        self._last = order
        self._passed_at_s = now_s
