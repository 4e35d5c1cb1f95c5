"""Keeps the CPU time of threads that do other work than frames out of the load, as it is used.

A thread calls `begin` and `end`, the main thread `count` before each measurement.
"""

from __future__ import annotations

import threading
import time

from elastic_inference.flows.inference.load_meter import LoadMeter


class SideWork:
    """The CPU time of one thread at a time."""

    def __init__(self, meter: LoadMeter) -> None:
        self._meter = meter
        self._clock: int | None = None
        self._used_s = self._counted_s = 0.0

    def begin(self) -> None:
        """The thread: call it first."""
        self._used_s = self._counted_s = 0.0
        self._clock = time.pthread_getcpuclockid(threading.get_ident())

    def end(self) -> None:
        """The thread: call it last."""
        self._used_s = time.thread_time()

    def count(self) -> None:
        """Main thread: subtracts what the thread has used since the last call."""
        used_s = self._used_s
        if not used_s and self._clock is not None:
            try:
                used_s = time.clock_gettime(self._clock)
            except OSError:  # it has just ended
                used_s = self._used_s
        self._meter.other_work(max(0.0, used_s - self._counted_s))
        self._counted_s = max(self._counted_s, used_s)
