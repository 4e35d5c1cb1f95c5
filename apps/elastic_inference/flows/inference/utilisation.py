"""How busy a pod is, and its scale ratio, calculated from samples of counters. Pure.

Called twice a second by the `load_meter`. `doc/inference_metrics.md`, "How the ratio is computed", explains the terms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from elastic_inference.domain.scale_ratio import scale_ratio
from elastic_inference.flows.inference.demand import FIRST_SPAN_S, DemandReading

# A pod that is nearly busy and drops this share of its demand is full, even if its queue ran empty now and then.
FULL_BUSY = 0.8
_FULL_DROPS = 0.05


@dataclass(frozen=True, slots=True)
class LoadSample:
    """Counters at one time, each counted from the start of the pod.

    `used_s`: seconds of CPU time, without `wasted_s` (on an accelerator: seconds of full load). `wasted_s`: seconds of
    CPU time on broken frames. `dropped`: drops that count towards the rate. `waited`: since the last sample, frames
    were always waiting for the pod, and the pod never waited for a frame.
    """

    at_s: float
    used_s: float
    inferred: int
    dropped: int
    waited: bool
    wasted_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadReading:
    """Rates over the window, frames a second; `busy` 0..1; `scale_ratio` is demand over capacity."""

    infer_fps: float
    drop_fps: float
    busy: float
    capacity_fps: float
    scale_ratio: float


class ClaimedDrops:
    """Decides which claimed drops count towards the rate. Not thread-safe.

    The first claim, and one after a pause longer than the window, covers frames dropped while no pod was looking. They
    belong in the counter, but say nothing about the current rate.
    """

    def __init__(self, window_s: float, wait_s: float) -> None:
        """`wait_s` is how long a pop may wait for a frame.

        Such a wait does not count as a pause, however short the window.
        """
        self.pause_s = max(window_s, 2 * wait_s)
        self._claimed_at_s: float | None = None

    def rated(self, now_s: float, drops: int) -> int:
        """How many of `drops`, claimed now, count towards the rate. Call it at every pop, even without drops."""
        last_s, self._claimed_at_s = self._claimed_at_s, now_s
        if last_s is None or now_s - last_s > self.pause_s:
            return 0
        return drops


class Utilisation:
    """Calculates the readings of one pod. Not thread-safe."""

    def __init__(self, window_s: float, *, fixed: float | None, first_available: float, first_fps: float) -> None:
        """`fixed`: the cores available to the pod if they are known (its CPU quota; 1 for an accelerator).

        Otherwise they are estimated: what the pod used while frames waited through a whole window, or at first
        `first_available`. `first_fps` is the capacity in the warm-up, frames a second.
        """
        self._window_s = window_s
        self._fixed = fixed
        self._available = fixed if fixed is not None else first_available
        self._capacity_fps = first_fps
        # For each sample: the CPU seconds that were available until then.
        self._samples: deque[tuple[LoadSample, float]] = deque()

    @property
    def available(self) -> float:
        """Estimated available cores."""
        return self._available

    @property
    def capacity_fps(self) -> float:
        """Frames a second, as last measured, for the cores that are available now."""
        return self._capacity_fps

    def resize(self, fixed: float | None, available: float) -> None:
        """Sets the cores from the last sample on: `fixed`, or if that is None, an estimate that starts at `available`.

        The capacity changes at once by the same factor. Samples in the window keep the cores of their own time.
        """
        before, self._fixed = self._available, fixed
        self._available = available if fixed is None else fixed
        if before > 0:
            self._capacity_fps *= self._available / before

    @property
    def frame_s(self) -> float | None:
        """CPU seconds for a frame, all of the pod's work included, as last measured; None if unknown."""
        return self._available / self._capacity_fps if self._capacity_fps > 0 else None

    def scale(self, factor: float) -> None:
        """Another model takes `factor` times as long for a frame from now on: the capacity changes at once."""
        self._capacity_fps /= factor

    def add(self, sample: LoadSample, demand: DemandReading | None = None) -> LoadReading:
        """Adds a sample, later than the last one; returns the reading of the window that ends with it.

        Without a `demand` it is what was inferred or dropped. Since a change of it, the capacity is that since the
        change; the rates still cover the window.
        """
        samples = self._samples
        granted_s = 0.0
        if samples:
            last, granted_s = samples[-1]
            granted_s += (sample.at_s - last.at_s) * self._available
        samples.append((sample, granted_s))
        while len(samples) > 2 and sample.at_s - samples[1][0].at_s >= self._window_s:
            samples.popleft()
        window = list(samples)
        reading = self._reading(window, learning=True)
        if demand is None:
            return reading
        now, since_s = reading, demand.since_s
        if since_s is not None:
            since = [each for each in window if each[0].at_s >= since_s]
            now = self._reading(since, learning=False) if len(since) > 1 else reading
        ratio = scale_ratio(demand.fps, now.capacity_fps)
        if demand.joins and ratio < FULL_BUSY:
            ratio = 0.0
        return LoadReading(reading.infer_fps, reading.drop_fps, now.busy, now.capacity_fps, ratio)

    def _reading(self, window: Sequence[tuple[LoadSample, float]], *, learning: bool) -> LoadReading:
        """The reading of these samples. `learning`: they are the whole window, and tell how much CPU is available."""
        first, granted_before_s = window[0]
        sample, granted_s = window[-1]
        elapsed_s = sample.at_s - first.at_s
        span_s = max(elapsed_s, min(FIRST_SPAN_S, self._window_s)) if learning else elapsed_s
        infer_fps = (sample.inferred - first.inferred) / span_s
        drop_fps = (sample.dropped - first.dropped) / span_s
        used = max(0.0, sample.used_s - first.used_s) / span_s
        waited = all(each.waited for each, _ in window[1:]) and (elapsed_s >= self._window_s or not learning)
        wasted = max(0.0, sample.wasted_s - first.wasted_s) / span_s
        mean = self._available
        if self._fixed is not None and elapsed_s > 0:
            mean = (granted_s - granted_before_s) / elapsed_s
        # Not 1 only while the window includes a time with another quota.
        now = self._available / mean if mean > 0 else 1.0
        busy = self._busy(used, wasted, mean, waited=waited, learning=learning)
        if busy >= FULL_BUSY and drop_fps > _FULL_DROPS * (infer_fps + drop_fps):
            busy = 1.0
        if infer_fps > 0 and busy > 0:
            self._capacity_fps = infer_fps / busy * now
        # A pod's capacity is at least its current rate, even if its CPU clock did not advance meanwhile.
        capacity_fps = max(self._capacity_fps, infer_fps * min(1.0, now))
        ratio = scale_ratio(infer_fps + drop_fps, capacity_fps)
        return LoadReading(infer_fps, drop_fps, busy, capacity_fps, ratio)

    def _busy(self, used: float, wasted: float, available: float, *, waited: bool, learning: bool) -> float:
        learning = learning and self._fixed is None
        if waited and used > 0:
            # Frames were always waiting, so unused CPU was not available.
            if learning:
                self._available = used + wasted
            return used / (used + wasted)
        if learning:
            available = self._available = max(self._available, used)
        return min(1.0, used / available) if available > 0 else 0.0
