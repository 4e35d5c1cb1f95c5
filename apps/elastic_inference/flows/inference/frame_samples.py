"""Frames that were inferred, with their results, for another model to infer too. Off unless a model is tried.

The publish thread adds, the models thread takes. The oldest go first: another model must never hold up the running
one. It holds references, not copies.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from random import random

from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.flows.inference.task_queue import Outgoing

MAX_FRAMES = 32
MAX_BYTES = 8 << 20
# The maximum share of the memory for images.
_SHARE_OF_IMAGES = 8


class FrameSamples:
    """Thread-safe."""

    def __init__(self, budget: ByteBudget | None = None, draw: Callable[[], float] = random) -> None:
        """While it is on, it takes its memory from `budget`. `draw` returns a random number of 0..1."""
        self.limit_bytes = MAX_BYTES if budget is None else min(MAX_BYTES, budget.total // _SHARE_OF_IMAGES)
        self.skipped = 0
        self._budget, self._draw = budget, draw
        self._share = 0.0
        self._bytes = 0
        self._frames: deque[Outgoing] = deque()
        self._changed = threading.Condition()

    def turn(self, share: float) -> None:
        """Keeps this share (0..1) of the frames from now on; 0 is off. Forgets what it holds."""
        with self._changed:
            if self._budget is not None and (share > 0) != (self._share > 0):
                self._budget.resize(-self.limit_bytes if share else self.limit_bytes)
            self._share = share
            self._frames.clear()
            self._bytes = self.skipped = 0

    def add(self, batch: Sequence[Outgoing]) -> None:
        """Keeps some frames of a batch."""
        if not self._share:
            return
        with self._changed:
            # At random: a fixed step could meet the same stream each time.
            for result, jpeg in batch:
                if len(jpeg) <= self.limit_bytes and self._draw() < self._share:
                    self._frames.append((result, jpeg))
                    self._bytes += len(jpeg)
            while self._bytes > self.limit_bytes or len(self._frames) > MAX_FRAMES:
                self._bytes -= len(self._frames.popleft()[1])
                self.skipped += 1
            self._changed.notify()

    def take(self, timeout_s: float) -> Outgoing | None:
        """The oldest frame; None if there is none within `timeout_s`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._frames, timeout_s):
                return None
            outgoing = self._frames.popleft()
            self._bytes -= len(outgoing[1])
            return outgoing
