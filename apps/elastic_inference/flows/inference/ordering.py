"""Brings results that finish in any order back into each stream's own. Pure.

Called by the inference flow under its lock. A stream whose frame takes long holds back its own later results only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Place(Generic[T]):
    """A frame's place among those of its stream that this pod has in hand."""

    stream: str
    done: bool = False
    result: T | None = None


class StreamOrder(Generic[T]):
    """Places of the frames in hand. Not thread-safe."""

    def __init__(self) -> None:
        self._open: dict[str, deque[Place[T]]] = {}

    def take_place(self, stream: str) -> Place[T]:
        """A place behind those already taken for `stream`: call it in the order of the frames."""
        place: Place[T] = Place(stream)
        self._open.setdefault(stream, deque()).append(place)
        return place

    def finish(self, place: Place[T], result: T | None) -> list[T]:
        """Fills a place (None: the frame has no result); the results that may be published now, in order."""
        place.done, place.result = True, result
        waiting = self._open[place.stream]
        ready: list[T] = []
        while waiting and waiting[0].done:
            head = waiting.popleft()
            if head.result is not None:
                ready.append(head.result)
        if not waiting:
            del self._open[place.stream]
        return ready

    def __len__(self) -> int:
        return sum(len(places) for places in self._open.values())
