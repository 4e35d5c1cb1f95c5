"""Queues frames that take long to decode separately, so that the pod's other frames do not wait for them.

Part of `TaskQueue`, which asks it for every frame. While other frames wait too long, costly ones get a sixteenth of
one worker; otherwise half of the workers, and all of them while no other frames arrive. The stream's name does not
matter, since a client can send each frame under a new one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from elastic_inference.domain.frame import Frame
from elastic_inference.domain.jpeg_memory import one_scan
from elastic_inference.flows.inference.jpeg import MAX_SCANS, count_scans

if TYPE_CHECKING:
    from elastic_inference.flows.inference.task_queue import Task

# Measured with images of 2 to 33 million pixels, flat and noisy: the estimate is at most a third too low.
SECONDS_A_PIXEL = 1.1e-9
SECONDS_A_BYTE = 15e-9
# A camera's image takes far less: a noisy 4K image 40 ms. A progressive one of 33 million pixels takes 0.3 s and more.
MIN_COSTLY_S = 0.1
# Or this many times the whole time of an ordinary frame.
COSTLY_FRAMES = 4
# After a costly image that has delayed others, a worker takes no such image for this many times its duration.
REST = 15
# How long a frame that had to wait counts, and any other frame.
RECENT_S = 2.0
# How often an idle worker checks whether a costly frame may start.
LOOK_EVERY_S = 0.05


def decoding_s(data: bytes, width: int, height: int) -> float:
    """Estimates the CPU time to decode an image, from its header and its scans."""
    scans = 1 if one_scan(data) else min(count_scans(data), MAX_SCANS)
    return SECONDS_A_PIXEL * width * height * max(1, scans) + SECONDS_A_BYTE * len(data)


class CostlyFrames:
    """The costly frames of a pod. Thread-safe."""

    def __init__(self, workers: int, first_fps: float = float("inf"), fresh_s: float = float("inf")) -> None:
        """`first_fps` is the pod's rate, as measured in the warm-up.

        A frame older than `fresh_s` is returned at once, since workers drop it.
        """
        self.resize(workers, first_fps, fresh_s)
        # Whether there are any costly frames: workers read it for each frame.
        self.active = False
        self._waiting: deque[Task] = deque()
        # By thread: since when it works on a costly frame, and its CPU time then.
        self._running: dict[int, tuple[float, float]] = {}
        self._held_up_s = self._ordinary_s = self._rests_until_s = float("-inf")
        # When the last one ended, and how much CPU time it took.
        self._last = (float("-inf"), 0.0)
        self._lock = threading.Lock()

    def resize(self, workers: int, fps: float, fresh_s: float) -> None:
        """Main thread: sets the number of workers, and the pod's rate in frames a second."""
        self.costly_s = max(MIN_COSTLY_S, COSTLY_FRAMES / max(fps, 0.001))
        self._workers = workers
        self._fresh_s = fresh_s

    def __len__(self) -> int:
        return len(self._waiting)

    def is_costly(self, frame: Frame) -> bool:
        """Whether decoding this frame's image takes long."""
        size, pixels = len(frame.data), frame.width * frame.height
        if SECONDS_A_PIXEL * pixels * MAX_SCANS + SECONDS_A_BYTE * size < self.costly_s:
            return False
        return decoding_s(frame.data, frame.width, frame.height) >= self.costly_s

    def put(self, task: Task) -> Task | None:
        """Takes a costly frame; returns the oldest one if there are too many."""
        with self._lock:
            self.active = True
            self._waiting.append(task)
            return self._waiting.popleft() if len(self._waiting) > self._workers else None

    def others_came(self, now_s: float) -> None:
        """Records that other frames have arrived."""
        self._ordinary_s = now_s

    def other_begins(self, waited_s: float, now_s: float) -> None:
        """Records that a worker starts an ordinary frame that had waited for `waited_s`."""
        if waited_s <= self.costly_s:
            return
        with self._lock:
            self._held_up_s = now_s
            ended_s, took_s = self._last
            if now_s - waited_s < ended_s:
                self._rests_until_s = max(self._rests_until_s, ended_s + REST * took_s)

    def next(self, now_s: float, *, others_wait: bool) -> Task | None:
        """For an idle worker: the next costly frame, if it may start now.

        After a costly frame, a worker first takes an ordinary one, if any wait.
        """
        with self._lock:
            ended = self._end(now_s)
            if not self._waiting:
                self.active = bool(self._running) or now_s < max(self._rests_until_s, self._last[0] + RECENT_S)
                return None
            if now_s - self._waiting[0].arrived_s > self._fresh_s:
                return self._waiting.popleft()
            if ended and others_wait:
                return None
            if now_s < self._rests_until_s or len(self._running) >= self._most(now_s):
                return None
            return self._begin(now_s)

    def last(self, now_s: float) -> Task | None:
        """Like `next`, while the pod drains: returns a waiting frame in any case."""
        with self._lock:
            self._end(now_s)
            return self._begin(now_s) if self._waiting else None

    def _begin(self, now_s: float) -> Task:
        self._running[threading.get_ident()] = (now_s, time.thread_time())
        return self._waiting.popleft()

    def _end(self, now_s: float) -> bool:
        """Whether the worker has just ended a costly frame."""
        began = self._running.pop(threading.get_ident(), None)
        if began is None:
            return False
        took_s = time.thread_time() - began[1]
        self._last = (now_s, took_s)
        if self._held_up_s >= began[0]:
            self._rests_until_s = max(self._rests_until_s, now_s + REST * took_s)
        return True

    def _most(self, now_s: float) -> int:
        if now_s - self._ordinary_s > RECENT_S:
            return self._workers
        if now_s - self._held_up_s <= RECENT_S:
            return 1
        return max(1, self._workers // 2)
