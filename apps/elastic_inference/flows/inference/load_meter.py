"""Collects reports from the pod's threads and calculates the pod's load from them, twice a second.

The pop thread and the workers report to it, the main thread measures, the publish thread reads `reading`. The
arithmetic is in `utilisation` and `demand`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from elastic_inference.adapters.frame_queue import PopBatch
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.domain.errors import DropReason
from elastic_inference.flows.inference.demand import DemandWindow, Flow, FlowCounter
from elastic_inference.flows.inference.utilisation import ClaimedDrops, LoadReading, LoadSample, Utilisation

MEASURE_EVERY_S = 0.5
# Drops for lack of capacity. Drops for lack of Redis memory, or at the source, say nothing about the pods.
_RATED = (DropReason.QUEUE_FULL, DropReason.STALE)
# A pop reports at least this often. After a longer silence, nothing is known to arrive.
_SILENT_S = 1.5


class LoadedEngine(Protocol):
    """The part of `Engine` that shows how busy it is."""

    @property
    def on_cpu(self) -> bool:
        """Whether only CPUs run the model."""

    def busy_s(self) -> float:
        """Seconds of full load since the start."""


class LoadMeter:
    """The load of one pod. Each method names the thread that may call it."""

    def __init__(
        self,
        engine: LoadedEngine,
        claimed: ClaimedDrops,
        metrics: InferenceMetrics,
        cpu_s: Callable[[], float] = time.process_time,
        *,
        window_s: float = 5.0,
    ) -> None:
        """`cpu_s`: CPU seconds of this process since its start. `window_s`: the window of the rates."""
        self.reading: LoadReading | None = None
        self._engine = engine
        # Seconds of full load of former engines.
        self._busy_before_s = 0.0
        self._claimed = claimed
        self._metrics = metrics
        self._cpu_s = cpu_s
        self._rated_drops = 0
        self._never_starved = True
        self._popping_since_s: float | None = None
        # CPU time that the last pop took for each of its frames.
        self._pop_s = 0.0
        # CPU time of all threads on frames that turned out to be broken, and on other work.
        self._wasted_s = 0.0
        self._broken = 0
        self._flows = FlowCounter(claimed.pause_s)
        # What the pop thread has counted, for the main thread.
        self._flow: Flow | None = None
        self._demand = DemandWindow(window_s)
        self._lock = threading.Lock()

    def follow(self, engine: LoadedEngine) -> None:
        """Main thread: measures another engine from now on."""
        self._busy_before_s += self._engine.busy_s() - engine.busy_s()
        self._engine = engine

    def pop_begins(self, now_s: float) -> None:
        """Pop thread: records that a request to the queue starts."""
        self._popping_since_s = now_s

    def pop_fails(self) -> None:
        """Pop thread: records that the request failed."""
        self._popping_since_s = None

    def pop_ends(self, batch: PopBatch, now_s: float) -> None:
        """Pop thread: records the queue's answer."""
        asked_at_s, self._popping_since_s = self._popping_since_s, None
        longest_ms = max((popped.queue_ms for popped in batch.frames), default=0.0)
        # A frame that has waited longer than this pop took was there before the pod asked.
        if batch.waiting == 0 and asked_at_s is not None and longest_ms / 1000 <= now_s - asked_at_s:
            self._never_starved = False
        rated = sum(batch.dropped[reason] for reason in _RATED) if batch.dropped else 0
        rated = self._claimed.rated(now_s, rated)
        self._rated_drops += rated
        own = len(batch.frames) + len(batch.invalid)
        self._flow = self._flows.add(now_s, own, rated, batch.waiting, batch.totals)

    def pop_costs(self, batch: PopBatch, spent_s: float) -> None:
        """Pop thread: CPU seconds from one batch to the next. Each frame counts for an equal part."""
        if count := len(batch.frames) + len(batch.invalid):
            self._pop_s = spent_s / count
        if batch.invalid:
            self._waste(self._pop_s * len(batch.invalid), len(batch.invalid))

    def frame_wasted(self, spent_s: float) -> None:
        """Worker: CPU seconds on a frame that turned out to be broken."""
        self._waste(spent_s + self._pop_s, 1)

    def other_work(self, spent_s: float) -> None:
        """Any thread: CPU seconds on other work than frames, such as compiling the model again."""
        self._waste(spent_s)

    def measure(self, utilisation: Utilisation, now_s: float, inferred: int) -> None:
        """Main thread: a new `reading`. `inferred` counts frames since the start."""
        since_s = self._popping_since_s
        # The current pop started at least half a measurement ago: the pod waits for frames.
        starving = since_s is not None and now_s - since_s > MEASURE_EVERY_S / 2
        waited = self._never_starved and not starving
        self._never_starved = True
        with self._lock:
            wasted_s, broken = self._wasted_s, self._broken
        if self._engine.on_cpu:
            used_s = self._cpu_s() - wasted_s
        else:
            used_s, wasted_s = self._busy_before_s + self._engine.busy_s(), 0.0
        demand, flow = None, self._flow
        if flow is not None:
            demand = self._demand.add(replace(flow, at_s=max(flow.at_s, now_s - _SILENT_S), broken=broken))
        reading = utilisation.add(LoadSample(now_s, used_s, inferred, self._rated_drops, waited, wasted_s), demand)
        self.reading = reading
        self._metrics.infer_fps.set(reading.infer_fps)
        self._metrics.drop_fps.set(reading.drop_fps)
        self._metrics.scale_ratio.set(reading.scale_ratio)

    def end(self) -> None:
        """Main thread: the pod stops. Its share of the demand is that of the others from now on."""
        self._metrics.scale_ratio.set(0.0)

    def _waste(self, spent_s: float, frames: int = 0) -> None:
        with self._lock:
            self._wasted_s += spent_s
            self._broken += frames
