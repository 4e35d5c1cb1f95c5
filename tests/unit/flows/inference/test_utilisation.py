"""The scale ratio's arithmetic, driven by a simulated pod: no clock, no process, hours in milliseconds."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elastic_inference.flows.inference.intake import POP_WAIT_S
from elastic_inference.flows.inference.utilisation import ClaimedDrops, LoadReading, LoadSample, Utilisation

WINDOW_S = 5.0
TICK_S = 0.5


class SimulatedPod:
    """A pod that infers `capacity_fps` with `available` cores, and a queue that holds `depth` frames."""

    def __init__(self, capacity_fps: float, available: float, depth: int = 4, overhead: float = 0.0) -> None:
        self.capacity_fps, self.available = capacity_fps, available
        self.depth, self.overhead = depth, overhead
        self.at_s = self.used_s = self.waiting = 0.0
        self.inferred = self.dropped = 0
        self.starved = False

    def run(self, seconds: float, arrivals: list[float], utilisation: Utilisation) -> list[LoadReading]:
        """Serves arrivals (seconds from now) in order, and takes a sample each half second."""
        start_s = self.at_s
        step_s = 1 / 1000
        budget = 0.0
        due = 0
        readings = []
        next_tick = start_s + TICK_S
        times = sorted(arrivals)
        while self.at_s < start_s + seconds:
            self.at_s += step_s
            while due < len(times) and start_s + times[due] <= self.at_s:
                due += 1
                if self.waiting >= self.depth:
                    self.dropped += 1
                else:
                    self.waiting += 1
            if self.waiting >= 1:
                budget += self.capacity_fps * step_s
                self.used_s += self.available * step_s
                while budget >= 1 and self.waiting >= 1:
                    budget -= 1
                    self.waiting -= 1
                    self.inferred += 1
            else:
                self.starved = True
                self.used_s += self.overhead * step_s
            if self.at_s >= next_tick:
                next_tick += TICK_S
                sample = LoadSample(self.at_s, self.used_s, self.inferred, self.dropped, not self.starved)
                self.starved = False
                readings.append(utilisation.add(sample))
        return readings


def steady(fps: float, seconds: float) -> list[float]:
    return [index / fps for index in range(int(fps * seconds))]


def random_arrivals(fps: float, seconds: float, seed: int = 1) -> list[float]:
    generator = random.Random(seed)  # noqa: S311  a test's
    times, at = [], 0.0
    while (at := at + generator.expovariate(fps)) < seconds:
        times.append(at)
    return times


def settled(readings: list[LoadReading]) -> list[LoadReading]:
    return readings[int(2 * WINDOW_S / TICK_S) :]


def mean_ratio(readings: list[LoadReading]) -> float:
    return sum(each.scale_ratio for each in readings) / len(readings)


def fed(utilisation: Utilisation, ticks: int, *, waited: bool = False, **rates: float) -> LoadReading:
    """The reading after `ticks` samples; `rates` are used, inferred, dropped and wasted, a second."""
    reading = LoadReading(0, 0, 0, 0, 0)
    for tick in range(ticks):
        at_s = tick * TICK_S
        used, wasted = at_s * rates.get("used", 0), at_s * rates.get("wasted", 0)
        inferred, dropped = int(at_s * rates.get("inferred", 0)), int(at_s * rates.get("dropped", 0))
        reading = utilisation.add(LoadSample(at_s, used, inferred, dropped, waited, wasted))
    return reading


def without_quota(first_available: float, first_fps: float = 100) -> Utilisation:
    return Utilisation(WINDOW_S, fixed=None, first_available=first_available, first_fps=first_fps)


def with_quota(quota: float, capacity_fps: float) -> Utilisation:
    return Utilisation(WINDOW_S, fixed=quota, first_available=quota, first_fps=capacity_fps)


@pytest.mark.parametrize("quota", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("load", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("arrive", [steady, random_arrivals])
def test_below_capacity_the_ratio_is_demand_over_capacity(quota: float, load: float, arrive: object) -> None:
    pod = SimulatedPod(100.0, quota, depth=64)
    assert callable(arrive)
    readings = settled(pod.run(60, arrive(100 * load, 60), with_quota(quota, 100)))
    assert mean_ratio(readings) == pytest.approx(load, abs=0.05)
    assert max(abs(each.scale_ratio - load) for each in readings) < 0.15


@pytest.mark.parametrize("load", [1.5, 3.0])
@pytest.mark.parametrize("arrive", [steady, random_arrivals])
@pytest.mark.parametrize("fixed", [True, False])
def test_above_capacity_the_drops_make_the_ratio(load: float, arrive: object, fixed: bool) -> None:
    pod = SimulatedPod(100.0, 1.0)
    utilisation = Utilisation(WINDOW_S, fixed=1.0 if fixed else None, first_available=1.0, first_fps=100)
    assert callable(arrive)
    readings = settled(pod.run(40, arrive(100 * load, 40), utilisation))
    assert mean_ratio(readings) == pytest.approx(load, rel=0.05)
    assert all(each.busy == 1.0 for each in readings)


def test_cpu_that_was_not_available_under_overload_does_not_lower_the_ratio() -> None:
    """Queue and feeder take their share of the cores: the pod used 85 % of the warm-up's CPU, and was full."""
    reading = fed(without_quota(2.0, 118), 40, used=1.7, inferred=100, dropped=50)
    assert reading.scale_ratio == pytest.approx(1.5, rel=0.02)


def test_without_a_quota_the_available_cpu_is_learned_under_load() -> None:
    pod = SimulatedPod(100.0, 1.7, depth=64)
    utilisation = without_quota(1.0, 60)
    pod.run(20, steady(200, 20), utilisation)
    assert utilisation.available == pytest.approx(1.7, rel=0.02)
    pod.waiting = 0
    readings = settled(pod.run(30, steady(50, 30), utilisation))
    assert mean_ratio(readings) == pytest.approx(0.5, abs=0.03)


def test_what_is_used_is_available_even_if_no_frame_waited() -> None:
    utilisation = without_quota(0.5, 10)
    reading = fed(utilisation, 20, used=1.5, inferred=20)
    assert utilisation.available == pytest.approx(1.5)
    assert reading.busy == pytest.approx(1.0)


def test_less_is_available_while_others_use_the_machine() -> None:
    utilisation = without_quota(2.0)
    reading = fed(utilisation, 30, used=0.8, inferred=40, waited=True)
    assert utilisation.available == pytest.approx(0.8)
    assert reading.scale_ratio == pytest.approx(1.0)


@pytest.mark.parametrize("fixed", [1.5, None])
def test_broken_frames_that_fill_a_pod_change_neither_the_ratio_nor_the_available_cpu(fixed: float | None) -> None:
    utilisation = Utilisation(WINDOW_S, fixed=fixed, first_available=1.5, first_fps=100)
    reading = fed(utilisation, 30, used=0.3, inferred=10, wasted=1.2, waited=True)
    assert reading.scale_ratio == pytest.approx(0.2)
    assert utilisation.available == pytest.approx(1.5)


def test_part_of_a_window_is_not_enough_to_learn() -> None:
    utilisation = without_quota(2.0)
    for tick in range(40):
        utilisation.add(LoadSample(tick * TICK_S, tick * TICK_S * 0.8, tick * 20, 0, tick % 5 != 0))
    assert utilisation.available == pytest.approx(2.0)


def test_idle_is_zero() -> None:
    pod = SimulatedPod(100.0, 1.0, overhead=0.005)
    readings = pod.run(20, [], with_quota(1.0, 100))
    assert all(each.scale_ratio == 0 for each in readings)


def test_with_nothing_inferred_the_last_known_capacity_holds() -> None:
    reading = fed(with_quota(1.0, 50.0), 40, dropped=25)
    assert reading.capacity_fps == 50.0
    assert reading.scale_ratio == pytest.approx(0.5, abs=0.03)


def test_the_first_capacity_is_replaced_by_what_is_measured() -> None:
    pod = SimulatedPod(100.0, 1.0, depth=64)
    readings = pod.run(20, steady(50, 20), with_quota(1.0, 1000.0))
    assert readings[-1].capacity_fps == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.9])
def test_a_pod_that_starts_does_not_jump(load: float) -> None:
    pod = SimulatedPod(100.0, 1.0, depth=64)
    readings = pod.run(10, steady(100 * load, 10), with_quota(1.0, 100))
    assert max(each.scale_ratio for each in readings) < load + 0.1
    assert all(later.scale_ratio > earlier.scale_ratio - 0.05 for earlier, later in pairwise(readings))


def test_one_frame_right_after_the_start_is_not_a_flood() -> None:
    utilisation = with_quota(1.0, 100)
    utilisation.add(LoadSample(0.0, 0.0, 0, 0, False))
    reading = utilisation.add(LoadSample(0.05, 0.01, 1, 0, False))
    assert reading.infer_fps <= 0.5
    assert reading.scale_ratio < 0.01


def test_a_stream_in_bursts_is_measured_by_its_mean() -> None:
    pod = SimulatedPod(100.0, 1.0, depth=64)
    bursts = [second + index / 1000 for second in range(40) for index in range(50)]
    readings = settled(pod.run(40, bursts, with_quota(1.0, 100)))
    assert all(each.scale_ratio == pytest.approx(0.5, abs=0.12) for each in readings)


def test_bursts_that_overflow_the_queue_are_demand_but_not_overload() -> None:
    pod = SimulatedPod(100.0, 1.0, depth=4)
    bursts = [second + index / 10000 for second in range(40) for index in range(10)]
    readings = settled(pod.run(40, bursts, with_quota(1.0, 100)))
    assert mean_ratio(readings) == pytest.approx(0.1, abs=0.03)
    assert all(each.busy < 0.2 for each in readings)


def test_an_accelerator_is_measured_by_its_requests_in_flight() -> None:
    reading = fed(with_quota(1.0, 100), 30, used=0.4, inferred=40)
    assert reading.busy == pytest.approx(0.4)
    assert reading.capacity_fps == pytest.approx(100)


@pytest.mark.parametrize(("before", "after"), [(0.15, 1.5), (1.5, 0.15), (0.5, 0.6)])
@pytest.mark.parametrize("load", [0.3, 0.6])
def test_a_resized_pod_is_measured_by_its_new_quota_at_once(before: float, after: float, load: float) -> None:
    """A pod of one core infers 100 frames a second; `load` is the demand over the smaller quota's capacity."""
    fps = 100 * min(before, after) * load
    pod, utilisation = SimulatedPod(100 * before, before, depth=64), with_quota(before, 100 * before)
    assert mean_ratio(settled(pod.run(60, steady(fps, 60), utilisation))) == pytest.approx(fps / 100 / before, rel=0.1)
    utilisation.resize(after, after)
    assert utilisation.capacity_fps == pytest.approx(100 * after, rel=0.15)
    pod.capacity_fps, pod.available = 100 * after, after
    readings = pod.run(20, steady(fps, 20), utilisation)
    assert [each.scale_ratio for each in readings] == pytest.approx([fps / 100 / after] * len(readings), rel=0.2)
    assert mean_ratio(readings) == pytest.approx(fps / 100 / after, rel=0.1)


def test_a_full_pod_that_grows_is_no_longer_full() -> None:
    pod, utilisation = SimulatedPod(15, 0.15), with_quota(0.15, 15)
    assert pod.run(20, steady(75, 20), utilisation)[-1].scale_ratio == pytest.approx(5.0, rel=0.05)
    pod.capacity_fps, pod.available = 150, 1.5
    utilisation.resize(1.5, 1.5)
    readings = pod.run(20, steady(75, 20), utilisation)
    assert max(each.scale_ratio for each in readings) < 1.0
    assert all(each.scale_ratio == pytest.approx(0.5, abs=0.05) for each in settled(readings))


def test_a_pod_that_shrinks_under_its_load_is_full() -> None:
    pod, utilisation = SimulatedPod(150, 1.5), with_quota(1.5, 150)
    pod.run(20, steady(75, 20), utilisation)
    pod.capacity_fps, pod.available = 15, 0.15
    utilisation.resize(0.15, 0.15)
    readings = pod.run(20, steady(75, 20), utilisation)
    assert all(each.scale_ratio == pytest.approx(5.0, rel=0.1) for each in readings)


def test_an_idle_pod_keeps_its_capacity_in_proportion_to_its_quota() -> None:
    utilisation = with_quota(0.5, 50)
    fed(utilisation, 20)
    utilisation.resize(2.0, 2.0)
    assert fed(utilisation, 1).capacity_fps == 200


def test_a_quota_that_ends_and_one_that_begins() -> None:
    utilisation = with_quota(0.5, 50)
    fed(utilisation, 30, used=0.25, inferred=25)
    utilisation.resize(None, 2.0)
    assert utilisation.available == 2.0
    assert fed(utilisation, 1).capacity_fps == pytest.approx(200)
    utilisation.resize(0.5, 0.5)
    assert fed(utilisation, 1).capacity_fps == pytest.approx(50)


def test_a_longer_window_is_covered_completely() -> None:
    utilisation = Utilisation(30.0, fixed=1.0, first_available=1.0, first_fps=100)
    for tick in range(200):
        reading = utilisation.add(LoadSample(tick * TICK_S, 0.0, 10 if tick >= 100 else 0, 0, False))
        if 101 <= tick <= 159:
            assert reading.infer_fps == pytest.approx(10 / 30)
    assert reading.infer_fps == 0


@example(steps=[(1.0, 0.0, 0, 0, False), (1.0, 0.0, 21, 0, False)], fixed=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(0.01, 3), st.floats(0, 20), st.integers(0, 1000), st.integers(0, 1000), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    fixed=st.one_of(st.none(), st.floats(0.01, 64)),
)
def test_any_sequence_of_samples_gives_a_sane_reading(
    steps: list[tuple[float, float, int, int, bool]], fixed: float | None
) -> None:
    utilisation = Utilisation(WINDOW_S, fixed=fixed, first_available=1.0, first_fps=10.0)
    at_s, used_s, inferred, dropped = 0.0, 0.0, 0, 0
    for seconds, used, more, drops, waited in steps:
        at_s, used_s, inferred, dropped = at_s + seconds, used_s + used, inferred + more, dropped + drops
        reading = utilisation.add(LoadSample(at_s, used_s, inferred, dropped, waited))
        assert 0 <= reading.busy <= 1
        assert reading.infer_fps >= 0
        assert reading.drop_fps >= 0
        assert math.isfinite(reading.scale_ratio)
        assert reading.scale_ratio >= 0
        if reading.drop_fps == 0 and reading.infer_fps > 0:
            assert reading.scale_ratio <= 1.0 + 1e-9


def test_the_first_claim_of_drops_does_not_count_towards_the_rate() -> None:
    claimed = ClaimedDrops(WINDOW_S, POP_WAIT_S)
    assert claimed.rated(100.0, 100_000) == 0
    assert claimed.rated(100.1, 3) == 3


def test_a_claim_after_a_pause_longer_than_the_window_does_not_count_towards_the_rate() -> None:
    claimed = ClaimedDrops(WINDOW_S, POP_WAIT_S)
    claimed.rated(0.0, 0)
    assert claimed.rated(4.9, 5) == 5
    assert claimed.rated(9.95, 5000) == 0
    assert claimed.rated(10.0, 7) == 7


def test_a_pop_that_waited_for_a_frame_is_not_a_pause_however_short_the_window() -> None:
    claimed = ClaimedDrops(1.0, POP_WAIT_S)
    claimed.rated(0.0, 0)
    assert claimed.rated(1.002, 3) == 3
    assert claimed.rated(2.2, 4) == 4
    assert claimed.rated(5.0, 5000) == 0
