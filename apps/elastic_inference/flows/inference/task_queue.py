"""The frames that wait for a worker, and the limits on all frames that the pod holds.

Shared by the pop thread (adds frames, waits for room), the workers (take frames) and the result sender (releases
frames that are done). Independent of Redis and the engine.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from elastic_inference.adapters.frame_queue import PoppedFrame
from elastic_inference.domain.result import Result
from elastic_inference.flows.inference.costly_frames import LOOK_EVERY_S, CostlyFrames
from elastic_inference.flows.inference.ordering import Slot

# Frames popped ahead keep the workers busy for this long while the next batch is fetched.
AHEAD_S = 0.04
MAX_AHEAD = 16

Outgoing = tuple[Result, bytes]
"""A result and the JPEG of its frame."""
Finished = tuple[Outgoing, float]
"""The same, and when the frame arrived at the queue, by this process's monotonic clock."""


@dataclass(slots=True, eq=False)
class Task:
    """A popped frame on its way through the pod."""

    popped: PoppedFrame
    stream: str
    slot: Slot[Finished]

    @property
    def size(self) -> int:
        """Bytes of its image."""
        return len(self.popped.frame.data)

    @property
    def arrived_s(self) -> float:
        """When the frame arrived at the queue, by this process's monotonic clock."""
        return self.popped.popped_monotonic - self.popped.queue_ms / 1000


def frames_ahead(fps: float) -> int:
    """How many frames to pop at a time on a pod that infers `fps` frames a second."""
    return max(1, min(MAX_AHEAD, round(fps * AHEAD_S)))


class TaskQueue:
    """Hands frames from the pop thread to the workers. Thread-safe within the roles that its methods name."""

    def __init__(self, workers: int, ahead: int, max_bytes: int = 1 << 62, costly: CostlyFrames | None = None) -> None:
        """`ahead`: frames that a pop may return. The pod holds at most four times the frames in work and popped ahead.

        A pop waits while the images of the frames in hand have `max_bytes` or more.
        """
        self.resize(workers, ahead)
        self._max_bytes = max_bytes
        self._bytes = 0
        # False only wakes a worker, to check the costly frames; True ends a worker; None ends one in a drain.
        self._tasks: queue.SimpleQueue[Task | bool | None] = queue.SimpleQueue()
        self._costly = CostlyFrames(workers) if costly is None else costly
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wants_room = False
        self._interrupted = False
        self._added = 0
        self._released = 0
        self._lock = threading.Lock()

    def resize(self, workers: int, ahead: int) -> None:
        """Main thread: sets the limits for another number of workers."""
        self._workers = workers
        self.pop_ahead(ahead)

    def pop_ahead(self, count: int) -> None:
        """Main thread: sets how many frames a pop may return."""
        self.ahead = count
        self._low = count // 2
        # Limits the memory of decoded, waiting and unpublished frames while the broker is unavailable.
        self._limit = 4 * (self._workers + count)

    @property
    def waiting(self) -> int:
        """Frames that no worker has taken yet."""
        return self._tasks.qsize() + len(self._costly)

    @property
    def in_hand(self) -> int:
        """Frames that were added and not released."""
        return self._added - self._released

    def wait_for_room(self, timeout_s: float) -> bool:
        """Pop thread: waits until few frames wait for a worker. False after the time-out or `interrupt`."""
        self._wants_room = True
        while self._tasks.qsize() > self._low or self.in_hand >= self._limit or self._bytes >= self._max_bytes:
            try:
                self._room.get(timeout=timeout_s)
            except queue.Empty:
                return False
            if self._interrupted:
                return False
            self._wants_room = True
        self._wants_room = False
        return True

    def add(self, tasks: Sequence[Task]) -> list[Task]:
        """Pop thread: hands frames to the workers. Returns those that must be dropped, since too many are costly."""
        self._added += len(tasks)
        size = sum(task.size for task in tasks)
        with self._lock:
            self._bytes += size
        costly = self._costly
        displaced: list[Task] = []
        others = False
        for task in tasks:
            if not costly.is_costly(task.popped.frame):
                others = True
                self._tasks.put(task)
                continue
            if (oldest := costly.put(task)) is not None:
                displaced.append(oldest)
            self._tasks.put(False)
        if others:
            costly.others_came(time.monotonic())
        return displaced

    def take(self) -> Task | None:
        """Worker: waits for the next frame. None means that this worker must end."""
        costly = self._costly
        while True:
            if costly.active:
                found = costly.next(time.monotonic(), others_wait=not self._tasks.empty())
                if found is not None:
                    if len(costly):
                        self._tasks.put(False)
                    return found
            try:
                task = self._tasks.get(timeout=LOOK_EVERY_S if len(costly) else None)
            except queue.Empty:
                continue
            if self._wants_room and self._tasks.qsize() <= self._low:
                self._wants_room = False
                self._room.put(None)
            if isinstance(task, Task):
                if costly.active:
                    now_s = time.monotonic()
                    costly.other_begins(now_s - task.arrived_s, now_s)
                return task
            if task is True:
                return None
            if task is None:
                found = costly.last(time.monotonic())
                if found is not None:
                    self._tasks.put(None)
                return found

    def release(self, count: int, size: int) -> None:
        """Any thread: the pod no longer holds `count` of its frames, whose images have `size` bytes."""
        with self._lock:
            self._released += count
            self._bytes -= size
        if self._wants_room:
            self._room.put(None)

    def interrupt(self) -> None:
        """Any thread: wakes up the pop thread, at the stop."""
        self._interrupted = True
        self._room.put(None)

    def end(self, workers: int, *, drain: bool = True) -> None:
        """Main thread: ends `workers` workers once all frames added before have been taken.

        Without `drain` costly frames may be left to the other workers.
        """
        for _ in range(workers):
            self._tasks.put(None if drain else True)
