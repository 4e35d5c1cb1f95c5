"""What arrives for a type, and which share of it is this pod's, from counters that all pods of the type share. Pure.

Fed twice a second by the `load_meter`. `doc/inference_metrics.md`, "How the ratio is computed", explains the terms.

Rates cover the window. But once a change in it is larger than its noise, they cover the time since: a rise of what
arrives, or another share of it for this pod, since pods joined or left. A fall is left to the window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from elastic_inference.adapters.redis_input import MAX_DROPS_A_SECOND

# A pod's first rates cover at least this time: one early frame must not look like a flood.
FIRST_SPAN_S = 2.0
# Rates of a change cover at least this time, which is three measurements: each counts up to the last pop before it. So
# a scrape two seconds after a step sees nothing from before it.
RISE_S = 1.25
# Standard deviations. With random arrivals, less than one look in 10,000 of an autoscaler takes noise for a change.
SIGNIFICANT = 4.5
# The noise is taken from the measurements of this time. A step, which shows in two pairs of them, is no noise.
NOISE_S = 20.0
_STEP_PAIRS = 2
# A pod that joins others needs this time until its share is known, and asks for nothing until then.
SHARE_S = 2.0
# Nor does it, unless it is nearly full, until most of the others have been scraped with the share that is left to them:
# until then the sum of the ratios would be too high, and a pod too many would start. A sum that is too low for some
# seconds does no harm, since autoscalers wait for their window before they scale in.
JOINS_S = 4.0
# A pod that got less than this part of all frames has joined others.
_ALONE = 0.95


@dataclass(frozen=True, slots=True)
class Flow:
    """Counters after a pop, from the pod's start on: frames of all pods, and this pod's own.

    `arrived`: frames popped, dropped at the queue for lack of capacity, or waiting. `popped`: those popped by any pod,
    `own`: by this one. `broken`: those of `own` that turned out to be broken.
    """

    at_s: float
    arrived: float
    popped: float
    own: float
    broken: float = 0.0


@dataclass(frozen=True, slots=True)
class DemandReading:
    """This pod's share of what arrives, frames a second.

    `since_s`: the time of the change, by the clock of the samples, if it covers the time since one; None if it covers
    the window. `joins`: the pod has just joined others.
    """

    fps: float
    since_s: float | None = None
    joins: bool = False


class FlowCounter:
    """Adds up what pops report. Not thread-safe.

    The counters in Redis can begin anew, jump while no pod pops, or be missing (old rights): what this pod sees of them
    never falls, and what arrived during a pause is left out, as with claimed drops.
    """

    def __init__(self, pause_s: float) -> None:
        """A pop after more than `pause_s` is the first one again."""
        self._pause_s = pause_s
        self._last: tuple[float, int, int, int] | None = None
        self._own_last_s: float | None = None
        self.flow = Flow(0.0, 0.0, 0.0, 0.0)

    def add(self, at_s: float, own: int, drops: int, waiting: int, totals: tuple[int, int] | None) -> Flow:
        """A pop of `own` messages that claimed `drops` and left `waiting` frames.

        `totals` are frames popped and dropped in the life of the type's counters.
        """
        flow, before_s = self.flow, self._own_last_s
        self._own_last_s = at_s
        paused = before_s is None or at_s - before_s > self._pause_s
        last, self._last = self._last, None if totals is None else (at_s, *totals, waiting)
        popped, arrived = float(own), float(own + drops)
        if last is not None and totals is not None and totals[0] >= last[1] and totals[1] >= last[2]:
            most = int(MAX_DROPS_A_SECOND * max(1.0, at_s - last[0]))
            popped = float(max(own, min(totals[0] - last[1], most)))
            dropped = min(totals[1] - last[2], most)
            arrived = popped + dropped + waiting - last[3]
        if paused:
            popped = arrived = 0.0
        self.flow = Flow(at_s, flow.arrived + arrived, flow.popped + popped, flow.own + (0 if paused else own))
        return self.flow


class DemandWindow:
    """The demand by a pod's samples of the flow. Not thread-safe."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._flows: deque[Flow] = deque()
        self._began_s: float | None = None

    def add(self, flow: Flow) -> DemandReading | None:
        """Adds a sample, not earlier than the last; returns the demand, None if no pod popped a frame in the window."""
        if self._began_s is None:
            self._began_s = flow.at_s
        self._keep(flow)
        window = self._in_window()
        if len(window) < 2:
            return None
        return self._joining(window, window[-1].at_s - self._began_s) or self._settled(window)

    def _keep(self, flow: Flow) -> None:
        """Keeps the sample, in place of the last one if no time has passed, and drops those that are too old."""
        flows = self._flows
        if flows and flow.at_s <= flows[-1].at_s:
            flow = replace(flow, at_s=flows.pop().at_s)
        flows.append(flow)
        while flow.at_s - flows[0].at_s > max(NOISE_S, self._window_s):
            flows.popleft()

    def _joining(self, window: Sequence[Flow], runs_s: float) -> DemandReading | None:
        """What a pod that has run for `runs_s` asks for while it joins others; None if it does not."""
        first, last = window[0], window[-1]
        alone = last.own - first.own >= _ALONE * (last.popped - first.popped)
        if alone or runs_s >= JOINS_S:
            return None
        fps = _rate(window) * _share(window) if runs_s >= SHARE_S else 0.0
        return DemandReading(fps, first.at_s, joins=True)

    def _settled(self, window: Sequence[Flow]) -> DemandReading | None:
        """The demand over the window; after a change in it, over the time since."""
        first, last = window[0], window[-1]
        rise = self._rise(window)
        shift = change_of([(each.popped, each.own) for each in window], [each.at_s for each in window])
        if rise is None and shift is None:
            if last.popped <= first.popped:
                return None
            return DemandReading(_rate(window, min(FIRST_SPAN_S, self._window_s)) * _share(window))
        # The rate covers the time since the rise, the share the time since the shift.
        fps = _rate(window[rise or 0 :]) * _share(window[shift or 0 :])
        return DemandReading(fps, window[max(rise or 0, shift or 0)].at_s)

    def _in_window(self) -> Sequence[Flow]:
        found: list[Flow] = []
        for each in reversed(self._flows):
            found.append(each)
            if self._flows[-1].at_s - each.at_s >= self._window_s:
                break
        return found[::-1]

    def _rise(self, window: Sequence[Flow]) -> int | None:
        noise = dispersion(max(0.0, later.arrived - earlier.arrived) for earlier, later in pairwise(self._flows))
        points = [(each.at_s, each.arrived) for each in window]
        return change_of(points, [each.at_s for each in window], noise, up_only=True)


def _rate(flows: Sequence[Flow], least_s: float = 0.0) -> float:
    return max(0.0, flows[-1].arrived - flows[0].arrived) / max(flows[-1].at_s - flows[0].at_s, least_s)


def _share(flows: Sequence[Flow]) -> float:
    """The part of all frames that this pod popped and that were not broken."""
    first, last = flows[0], flows[-1]
    good = last.own - first.own - (last.broken - first.broken)
    popped = last.popped - first.popped
    return min(1.0, max(0.0, good / popped)) if popped > 0 else 0.0


def change_of(
    points: Sequence[tuple[float, float]], times: Sequence[float], noise: float = 1.0, *, up_only: bool = False
) -> int | None:
    """Where the rate of the second coordinate over the first has changed most: the index at which the new one begins.

    Both coordinates rise. The part after the change covers RISE_S or more of `times`. None if no change is
    SIGNIFICANT, with counts that vary `noise` times as much as random arrivals.
    """
    best, found = SIGNIFICANT, None
    for index in range(1, len(points) - 1):
        if times[-1] - times[index] < RISE_S:
            break
        begin, middle, end = points[0], points[index], points[-1]
        step = excess(end[1] - middle[1], end[0] - middle[0], middle[1] - begin[1], middle[0] - begin[0], noise)
        if (step if up_only else abs(step)) > best:
            best, found = step if up_only else abs(step), index
    if found is None:
        return None
    # The sample that the change fell into belongs to both times.
    return found + 1 if times[-1] - times[found + 1] >= RISE_S else found


def excess(count: float, span: float, count_before: float, span_before: float, noise: float = 1.0) -> float:
    """By how many standard deviations the rate `count` / `span` is above the one before, if arrivals are random.

    Square roots make the spread of counts the same at any rate (F. J. Anscombe, Biometrika 35, 1948).
    """
    if span <= 0 or span_before <= 0 or noise <= 0:
        return 0.0
    factor = span / span_before
    roots = math.sqrt(max(0.0, count) + 0.375) - math.sqrt(factor * (max(0.0, count_before) + 0.375))
    return 2 * roots / math.sqrt((1 + factor) * noise)


def dispersion(counts: Iterable[float]) -> float:
    """The variance of counts of equal times, over their mean: 1 for random or steadier arrivals, more for bursts.

    Each pair of neighbours gives its own value, so that a slow change is no noise; the two largest are left out.
    """
    found = [(later - earlier) ** 2 / (earlier + later) for earlier, later in pairwise(counts) if earlier + later > 0]
    kept = sorted(found)[:-_STEP_PAIRS]
    return max(1.0, sum(kept) / len(kept)) if kept else 1.0
