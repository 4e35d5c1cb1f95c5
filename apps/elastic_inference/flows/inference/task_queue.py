"""The frames that wait for a worker, and the limit on all frames that the pod holds.

Shared by the pop thread (adds frames, waits for room), the workers (take frames) and the outbox (releases frames that
are done). Independent of Redis and the engine.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from elastic_inference.adapters.frame_queue import PoppedFrame
from elastic_inference.domain.result import Result
from elastic_inference.flows.inference.ordering import Slot

# Frames popped ahead keep the workers busy for this long while the next batch is fetched.
AHEAD_S = 0.04
MAX_AHEAD = 16

Outgoing = tuple[Result, bytes]
"""A result and the JPEG of its frame."""


@dataclass(slots=True, eq=False)
class Task:
    """A popped frame on its way through the pod."""

    popped: PoppedFrame
    stream: str
    slot: Slot[Outgoing]


def frames_ahead(fps: float) -> int:
    """How many frames to pop at a time on a pod that infers `fps` frames a second."""
    return max(1, min(MAX_AHEAD, round(fps * AHEAD_S)))


class TaskQueue:
    """Hands frames from the pop thread to the workers. Thread-safe within the roles that its methods name."""

    def __init__(self, workers: int, ahead: int) -> None:
        """`ahead`: frames that a pop may bring. The pod holds at most four times what it works on and pops ahead."""
        self.ahead = ahead
        self._low = ahead // 2
        # Limits the memory of decoded, waiting and unpublished frames while the broker is unavailable.
        self._limit = 4 * (workers + ahead)
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wants_room = False
        self._interrupted = False
        self._added = 0
        self._released = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Frames that no worker has taken yet."""
        return self._tasks.qsize()

    @property
    def in_hand(self) -> int:
        """Frames that were added and not released."""
        return self._added - self._released

    def wait_for_room(self, timeout_s: float) -> bool:
        """Pop thread: waits until few frames wait for a worker. False after the time-out or `interrupt`."""
        self._wants_room = True
        while self._tasks.qsize() > self._low or self.in_hand >= self._limit:
            try:
                self._room.get(timeout=timeout_s)
            except queue.Empty:
                return False
            if self._interrupted:
                return False
            self._wants_room = True
        self._wants_room = False
        return True

    def add(self, tasks: Sequence[Task]) -> None:
        """Pop thread: hands frames to the workers."""
        self._added += len(tasks)
        for task in tasks:
            self._tasks.put(task)

    def take(self) -> Task | None:
        """Worker: waits for the next frame. None means that this worker must end."""
        task = self._tasks.get()
        if self._wants_room and self._tasks.qsize() <= self._low:
            self._wants_room = False
            self._room.put(None)
        return task

    def release(self, count: int) -> None:
        """Any thread: the pod no longer holds `count` of its frames."""
        with self._lock:
            self._released += count
        if self._wants_room:
            self._room.put(None)

    def interrupt(self) -> None:
        """Any thread: wakes up the pop thread, at the stop."""
        self._interrupted = True
        self._room.put(None)

    def end(self, workers: int) -> None:
        """Call after the last `add`: ends `workers` workers once they have taken all frames."""
        for _ in range(workers):
            self._tasks.put(None)
