"""Decides which inference types are served if there are too many, so that no client can keep others out.

Called by `KnownTypes`. Pure: it only compares names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection

# Long enough for a type to be scraped and seen by an autoscaler.
TURN_S = 10.0


class TypeTurns:
    """Half of the places belong to the types known longest; the others take turns for the rest, in order of name.

    Anyone who may push can invent types, and keep them alive by pushing. So a type that was there first could keep its
    place forever; but a new one gets its turn after at most (types / half of the places) turns.
    """

    def __init__(self) -> None:
        self._known: list[str] = []
        self._turn: list[str] = []
        self._last = ""
        self._ends_s = float("-inf")

    def choose(self, names: Collection[str], places: int, now_s: float) -> set[str]:
        """Returns at most `places` of the names: those to serve now."""
        present = set(names)
        self._known = [name for name in self._known if name in present]
        if len(present) <= places:
            self._known += sorted(present.difference(self._known))
            self._turn = []
            return present
        stay = self._known[: places - places // 2]
        left = sorted(present.difference(stay))
        if now_s >= self._ends_s:
            self._turn = []
            self._ends_s = now_s + TURN_S
        kept = set(self._turn).intersection(left)
        turn = [name for name in self._turn if name in kept]
        ring = [name for name in _after(left, self._last) if name not in kept]
        added = ring[: max(0, places - len(stay) - len(turn))]
        if added:
            self._last = added[-1]
        turn = (turn + added)[: places - len(stay)]
        free = places - places // 2 - len(stay)
        self._known, self._turn = stay + turn[:free], turn[free:]
        return {*stay, *turn}


def _after(ordered: list[str], name: str) -> list[str]:
    """The ordered names, rotated to start after `name`."""
    start = bisect_right(ordered, name)
    return ordered[start:] + ordered[:start]
