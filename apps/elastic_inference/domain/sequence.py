"""Puts one stream's results in order. Pure: the caller passes the time and owns the timer.

Several pods serve one stream and finish its frames out of order. The queue numbers the frames without a gap (`order`),
so a missing number is either still on its way or will never come. A frame that was numbered and has no result leaves
a `Tombstone`, which fills its place, so no result waits for it. A killed pod leaves none; then the window decides.
A tombstone has no deadline of its own: one that overtakes slow results does not make them late.

**Start.** The first arrival does not fix the start: a slower pod may still hold its predecessor. So it waits for
the window like any other item whose predecessor is unknown, and items with lower numbers that arrive meanwhile pass
before it. No shorter wait is safe, since nothing shows how many pods share a stream. When the window is over, all that
followed without a gap passes too, and from then on an item in order is never delayed.

**Duplicates.** A batch may be published twice, and after a failover Redis may give out numbers again. Items can carry
an identity (the producer's `seq` and `ts`): the same number with the same identity is a repeat and is dropped; with
another identity it is a new frame, and the sequence starts again from there.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

# What one stream may hold back: more than any real stream sends within the window.
MAX_HELD = 64
MAX_HELD_BYTES = 16 * 1024 * 1024
# Nothing passed for this long while lower numbers came: the count began again (for example because Redis moved to
# a host whose clock is behind). They may never catch up, so the sequence starts again.
RESET_AFTER_S = 5.0
# Identities are remembered for this many numbers: a failover repeats about the last second.
_REMEMBERED = 64
_NEVER = float("inf")
_UNSEEN: tuple[int, Hashable] = (-1, None)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A frame that was numbered and has no result. `stream` is the stream id, `reason` a word for logs."""

    stream: str
    order: int
    reason: str


@dataclass(slots=True)
class _Held(Generic[T]):
    deadline_s: float
    size_bytes: int
    identity: Hashable
    # One item, or none for a tombstone.
    items: tuple[T, ...]


class Sequence(Generic[T]):
    """Passes items in rising `order` only, and holds each back at most `window_s` for a missing predecessor.

    Times are seconds of one monotonic clock. An item whose successor has already passed is dropped and counted in
    `late`; so is a repeat. Not thread-safe.
    """

    def __init__(self, window_s: float, last: int | None = None, now_s: float = 0.0) -> None:
        """`last` is the last number that passed in another process whose work this continues; None at a start."""
        self.late = 0
        self._window_s = window_s
        self._last = last
        self._passed_at_s = now_s
        self._held: dict[int, _Held[T]] = {}
        self._held_bytes = 0
        self._identities: list[tuple[int, Hashable]] = [_UNSEEN] * _REMEMBERED

    def push(self, order: int, item: T, now_s: float, size_bytes: int = 0, identity: Hashable = None) -> list[T]:
        """Takes one item; returns what may pass now, in order.

        `identity` distinguishes two frames with the same `order`; None if nothing does.
        """
        if order - 1 == self._last and not self._held:
            self._pass(order, identity, now_s)
            return [item]
        passed: list[T] = []
        if self._is_renumbered(order, identity):
            passed = self._restart(now_s)
        elif self._is_over(order, now_s):
            self.late += 1
            return []
        return passed + self._insert(order, _Held(now_s + self._window_s, size_bytes, identity, (item,)), now_s)

    def skip(self, order: int, now_s: float) -> list[T]:
        """Takes a tombstone; returns what may pass now that nothing waits for this number, in order."""
        if order in self._held or (self._last is not None and order <= self._last):
            return []
        return self._insert(order, _Held(_NEVER, 0, None, ()), now_s)

    def expire(self, now_s: float) -> list[T]:
        """Returns the items that have waited long enough, and everything before them, in order."""
        expired = [order for order, held in self._held.items() if held.deadline_s <= now_s]
        return self._release_up_to(max(expired), now_s) if expired else []

    def deadline_s(self) -> float | None:
        """When `expire` has something to do next; None while no item is held back."""
        deadline_s = min((held.deadline_s for held in self._held.values()), default=_NEVER)
        return None if deadline_s == _NEVER else deadline_s

    @property
    def last(self) -> int | None:
        """The number that passed last, a tombstone's included; None before the first."""
        return self._last

    def __contains__(self, order: int) -> bool:
        """Whether this number is held back."""
        return order in self._held

    def __len__(self) -> int:
        """Numbers held back, tombstones included."""
        return len(self._held)

    def _is_renumbered(self, order: int, identity: Hashable) -> bool:
        """Whether this number was seen with another identity."""
        if identity is None:
            return False
        if order in self._held:
            known = self._held[order].identity
        else:
            seen, known = self._identities[order % _REMEMBERED]
            if seen != order:
                return False
        return known is not None and known != identity

    def _is_over(self, order: int, now_s: float) -> bool:
        """Whether this number is held already or has been passed; starts again after a long silence."""
        if order in self._held:
            return True
        if self._last is None or order > self._last:
            return False
        if self.deadline_s() is not None or now_s - self._passed_at_s < RESET_AFTER_S:
            return True
        self._restart(now_s)
        return False

    def _restart(self, now_s: float) -> list[T]:
        """Releases what is held; the next item is a start."""
        passed = self._release_up_to(max(self._held), now_s) if self._held else []
        self._last = None
        self._identities = [_UNSEEN] * _REMEMBERED
        return passed

    def _insert(self, order: int, held: _Held[T], now_s: float) -> list[T]:
        self._held[order] = held
        self._held_bytes += held.size_bytes
        passed = self._release_following(now_s) + self.expire(now_s)
        while len(self._held) > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:
            passed += self._release_up_to(min(self._held), now_s)
        return passed

    def _release_up_to(self, limit: int, now_s: float) -> list[T]:
        passed: list[T] = []
        for order in sorted(order for order in self._held if order <= limit):
            self._release(order, now_s, passed)
        return passed + self._release_following(now_s)

    def _release_following(self, now_s: float) -> list[T]:
        passed: list[T] = []
        while self._last is not None and self._last + 1 in self._held:
            self._release(self._last + 1, now_s, passed)
        return passed

    def _release(self, order: int, now_s: float, passed: list[T]) -> None:
        held = self._held.pop(order)
        self._held_bytes -= held.size_bytes
        self._pass(order, held.identity, now_s)
        passed += held.items

    def _pass(self, order: int, identity: Hashable, now_s: float) -> None:
        self._last = order
        self._passed_at_s = now_s
        if identity is not None:
            self._identities[order % _REMEMBERED] = (order, identity)
