"""How busy a pod is, and the scale ratio: arithmetic only, fed with samples of counters.

Called twice a second by the inference flow. Knows no clock, no Redis and no OpenVINO. The definitions are in
`doc/inference_metrics.md`, "How the ratio is computed".
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

# A pod's first rates are over at least so long: one early frame must not read as a flood.
FIRST_SPAN_S = 2.0
# A pod that uses nearly all and drops this share of its demand is full, though its queue ran empty now and then.
_FULL_BUSY = 0.8
_FULL_DROPS = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters at one time, each counted from the start of the pod.

    `used_s`: seconds of CPU time without that spent on broken frames (or, on an accelerator, of full load).
    `dropped`: drops that count into the rate. `waited`: since the last sample there was no moment in which the pod
    waited for frames: some were always waiting for it. `spoilt_s`: seconds of CPU time spent on broken frames.
    """

    at_s: float
    used_s: float
    inferred: int
    dropped: int
    waited: bool
    spoilt_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Rates over the window, frames a second; `busy` 0..1; `scale_ratio` is demand over capacity."""

    infer_fps: float
    drop_fps: float
    busy: float
    capacity_fps: float
    scale_ratio: float


class DropTakes:
    """Sorts drops that a pod takes over into the rate or not. One thread.

    A take after the start, or after a pause longer than the window, gathers what was dropped while nobody looked: it
    belongs into the counter, but is no rate.
    """

    def __init__(self, window_s: float, wait_s: float) -> None:
        """`wait_s` is how long a pop may wait for a frame: the pod was there meanwhile, however short the window."""
        self._pause_s = max(window_s, 2 * wait_s)
        self._taken_at_s: float | None = None

    def take(self, now_s: float, drops: int) -> int:
        """How many of `drops`, taken over now, count into the rate. Call it at every pop, also with none."""
        last_s, self._taken_at_s = self._taken_at_s, now_s
        if last_s is None or now_s - last_s > self._pause_s:
            return 0
        return drops


class Utilisation:
    """The readings of one pod. One thread."""

    def __init__(self, window_s: float, *, fixed: float | None, first_available: float, first_fps: float) -> None:
        """What can be used, in seconds a second: `fixed` is known (a CPU quota in cores, 1 for an accelerator).

        Without it, it is what the pod used while frames waited through a whole window, and until then
        `first_available`. `first_fps` is the warm-up's capacity, frames a second.
        """
        self._window_s = window_s
        self._fixed = fixed
        self._available = fixed if fixed is not None else first_available
        self._capacity_fps = first_fps
        self._samples: deque[Sample] = deque()

    @property
    def available(self) -> float:
        """What the pod can use, in seconds a second, as far as is known."""
        return self._available

    def add(self, sample: Sample) -> Reading:
        """Takes one sample, later than the last, and gives the reading of the window that it ends."""
        samples = self._samples
        samples.append(sample)
        while len(samples) > 2 and sample.at_s - samples[1].at_s >= self._window_s:
            samples.popleft()
        first = samples[0]
        elapsed_s = sample.at_s - first.at_s
        whole_window = elapsed_s >= self._window_s
        span_s = max(elapsed_s, min(FIRST_SPAN_S, self._window_s))
        infer_fps = (sample.inferred - first.inferred) / span_s
        drop_fps = (sample.dropped - first.dropped) / span_s
        used = max(0.0, sample.used_s - first.used_s) / span_s
        waited = whole_window and all(each.waited for each in list(samples)[1:])
        spoilt = max(0.0, sample.spoilt_s - first.spoilt_s) / span_s
        busy = self._busy(used, spoilt, waited)
        if busy >= _FULL_BUSY and drop_fps > _FULL_DROPS * (infer_fps + drop_fps):
            busy = 1.0
        if infer_fps > 0 and busy > 0:
            self._capacity_fps = infer_fps / busy
        capacity_fps = self._capacity_fps
        ratio = (infer_fps + drop_fps) / capacity_fps if capacity_fps > 0 else 0.0
        return Reading(infer_fps, drop_fps, busy, capacity_fps, ratio)

    def _busy(self, used: float, spoilt: float, waited: bool) -> float:
        if waited and used > 0:
            # Whatever the pod could not use, it could not have: frames waited for it all the time.
            if self._fixed is None:
                self._available = used + spoilt
            return used / (used + spoilt)
        if self._fixed is None:
            self._available = max(self._available, used)
        return min(1.0, used / self._available) if self._available > 0 else 0.0
