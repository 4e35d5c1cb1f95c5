"""Brings frames that finish in any order back into each stream's own order. Pure.

Called by the `result_sender` under its lock. A slow frame holds back only the later frames of its own stream.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Slot(Generic[T]):
    """One frame's position among the unfinished frames of its stream in this pod."""

    stream: str
    done: bool = False
    item: T | None = None


class StreamOrder(Generic[T]):
    """The slots of all unfinished frames. Not thread-safe."""

    def __init__(self) -> None:
        self._open: dict[str, deque[Slot[T]]] = {}

    def reserve(self, stream: str) -> Slot[T]:
        """A slot after the existing slots of `stream`. Call it in the order of the frames."""
        slot: Slot[T] = Slot(stream)
        self._open.setdefault(stream, deque()).append(slot)
        return slot

    def finish(self, slot: Slot[T], item: T | None) -> list[T]:
        """Ends a slot and returns the items that may leave now, in order. None: the slot's frame has no item."""
        slot.done, slot.item = True, item
        waiting = self._open[slot.stream]
        ready: list[T] = []
        while waiting and waiting[0].done:
            head = waiting.popleft()
            if head.item is not None:
                ready.append(head.item)
        if not waiting:
            del self._open[slot.stream]
        return ready

    def __len__(self) -> int:
        return sum(len(slots) for slots in self._open.values())
