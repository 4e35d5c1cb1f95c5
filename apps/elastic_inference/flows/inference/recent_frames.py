"""Keeps frames of the last seconds with detections, from which events get their images.

Filled by the publish thread, read by the thread that answers event workers. It holds references, not copies, and
nothing while no event service runs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.flows.inference.task_queue import Outgoing

# An event worker asks within about 0.1 s, or `EVENT_REORDER_MS` later if it waits for an earlier frame.
KEEP_S = 4.0
# The maximum share of the memory for images.
SHARE = 8
_Key = tuple[str, int]


class RecentFrames:
    """The recent frames of a pod, by stream and order. Thread-safe."""

    def __init__(
        self, limit_bytes: int, budget: ByteBudget | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Holds at most `limit_bytes`, which it takes from `budget` while it is on."""
        self.limit_bytes = limit_bytes if budget is None else min(limit_bytes, budget.total // SHARE)
        self.on = False
        self.used_bytes = 0
        self._budget = budget
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._queue: deque[tuple[float, _Key, bytes]] = deque()
        self._frames: dict[_Key, bytes] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def turn(self, on: bool) -> None:
        """Switches it on, if it may hold anything, or off; off forgets everything. Any thread."""
        on = on and self.limit_bytes > 0
        if on == self.on:
            return
        with self._lock:
            if on == self.on:
                return
            if self._budget is not None:
                self._budget.resize(-self.limit_bytes if on else self.limit_bytes)
            self.on = on
            if not on:
                self._queue.clear()
                self._frames.clear()
                self.used_bytes = 0

    def add(self, batch: Sequence[Outgoing]) -> None:
        """Adds the frames that have detections."""
        now_s = self._monotonic()
        with self._lock:
            if not self.on:
                return
            for result, jpeg in batch:
                if result.detections and len(jpeg) <= self.limit_bytes:
                    key = (result.stream, result.order)
                    self._queue.append((now_s, key, jpeg))
                    self._frames[key] = jpeg
                    self.used_bytes += len(jpeg)
            self._trim(now_s)

    def trim(self) -> None:
        """Forgets what has become too old; `add` does it too."""
        with self._lock:
            self._trim(self._monotonic())

    def find(self, stream: str, order: int) -> bytes | None:
        """The JPEG of a frame, if it is still kept."""
        with self._lock:
            return self._frames.get((stream, order))

    def _trim(self, now_s: float) -> None:
        queue = self._queue
        while queue and (self.used_bytes > self.limit_bytes or now_s - queue[0][0] > KEEP_S):
            _, key, jpeg = queue.popleft()
            self.used_bytes -= len(jpeg)
            # A number may occur twice after Redis has lost its counters.
            if self._frames.get(key) is jpeg:
                del self._frames[key]
