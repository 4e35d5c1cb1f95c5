"""What arrives, and a pod's share of it: simulated arrivals and pods, without a clock."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elastic_inference.adapters.redis_input import MAX_DROPS_A_SECOND
from elastic_inference.flows.inference.demand import (
    JOINS_S,
    SHARE_S,
    DemandReading,
    DemandWindow,
    Flow,
    FlowCounter,
    change_of,
    dispersion,
    excess,
)

WINDOW_S = 5.0
TICK_S = 0.5
PAUSE_S = 5.0


def arrivals(kind: str, rate: float, until_s: float, seed: int, step: tuple[float, float] | None = None) -> list[float]:
    """Times of frames; `step` is (second, new rate)."""
    chance = random.Random(seed)  # noqa: S311  a test's
    at_s, found = 0.0, []
    while at_s < until_s:
        fps = step[1] if step and at_s >= step[0] else rate
        count = 8 if kind == "bursts" else 1
        at_s += chance.expovariate(fps) if kind == "random" else count / fps
        found += [at_s] * count
    return found


def watched(
    times: list[float], until_s: float, share: float = 1.0, seed: int = 1
) -> Iterator[tuple[float, DemandReading | None]]:
    """(time, demand) at each measurement of a pod that pops each frame with the probability `share`."""
    chance, window = random.Random(seed), DemandWindow(WINDOW_S)  # noqa: S311  a test's
    due = own = 0
    last_s = 0.0
    for tick in range(1, int(until_s / TICK_S)):
        now_s = tick * TICK_S
        while due < len(times) and times[due] <= now_s:
            last_s, due = times[due], due + 1
            own += chance.random() < share
        yield now_s, window.add(Flow(max(last_s, now_s - 1.0), due, due, own))


@pytest.mark.parametrize("kind", ["steady", "random", "bursts"])
@pytest.mark.parametrize("capacity_fps", [31.0, 200.0])
def test_a_step_shows_whole_after_two_seconds(kind: str, capacity_fps: float) -> None:
    right = []
    for seed in range(20):
        step_s = 30 + seed / 20
        times = arrivals(kind, 0.5 * capacity_fps, 40, seed, (step_s, 2.7 * capacity_fps))
        seen = [(now_s - step_s, each) for now_s, each in watched(times, 36)]
        change = next(each for after_s, each in seen if after_s > 1.5)
        # Then all of the window is after the step.
        late = [each for after_s, each in seen if 3 <= after_s < 4.5]
        assert change is not None, seed
        assert all(each is not None and each.fps > 2.1 * capacity_fps for each in late), seed
        right.append(2.2 <= change.fps / capacity_fps <= 3.2)
    assert sum(right) >= (20 if kind == "steady" else 15)


@pytest.mark.parametrize("kind", ["steady", "random", "bursts"])
@pytest.mark.parametrize("fps", [2.0, 10.0, 100.0])
@pytest.mark.parametrize("share", [1.0, 0.25])
def test_an_hour_of_noise_is_no_change(kind: str, fps: float, share: float) -> None:
    length_s = min(3600.0, 20_000 / fps)
    found = [each for _, each in watched(arrivals(kind, fps, length_s, 7), length_s, share) if each and not each.joins]
    assert sum(each.since_s is not None for each in found) <= 1


def test_a_fall_is_left_to_the_window() -> None:
    times = arrivals("steady", 100.0, 40, 1, (30, 20.0))
    found = [each for _, each in watched(times, 40) if each]
    assert all(each.since_s is None for each in found)
    # Two seconds of the old rate and three of the new one, then the new one alone.
    before, between, after = [each.fps for now_s, each in watched(times, 37) if each and now_s in (29, 33, 36)]
    assert (before, after) == (pytest.approx(100), pytest.approx(20))
    assert 50 < between < 60


def test_a_step_after_a_flood_is_not_hidden_by_its_noise() -> None:
    chance = random.Random(3)  # noqa: S311  a test's
    flood = [at + chance.random() for at in range(20) for _ in range(chance.randrange(200, 500))]
    low = [20 + each for each in arrivals("steady", 17.0, 12, 1)]
    high = [32 + each for each in arrivals("steady", 92.0, 8, 1)]
    found = [each for now_s, each in watched(sorted(flood + low + high), 40) if now_s == 34.0]
    assert found[0] is not None
    assert found[0].fps == pytest.approx(92, rel=0.05)


def test_the_shares_of_pods_that_are_joined_add_up_and_those_that_join_wait() -> None:
    """One pod pops all of 120 frames a second until three others come, at 30 s."""
    chance = random.Random(1)  # noqa: S311  a test's
    pods, joined = [DemandWindow(WINDOW_S)], [0]
    popped = 0
    for tick in range(1, 100):
        now_s = tick * TICK_S
        if now_s == 30:
            pods += [DemandWindow(WINDOW_S) for _ in range(3)]
            joined += [0] * 3
        for _ in range(60):
            joined[chance.randrange(len(pods))] += 1
            popped += 1
        found = [pod.add(Flow(now_s, popped, popped, own)) for pod, own in zip(pods, joined, strict=True)]
        if 30 < now_s < 30 + SHARE_S:
            assert all(each is not None and each.joins and each.fps == 0 for each in found[1:])
        if 30 + SHARE_S <= now_s < 30 + JOINS_S:
            assert all(each is not None and each.joins for each in found[1:])
            assert sum(each.fps for each in found if each) == pytest.approx(120, rel=0.1)
        if now_s == 30 + JOINS_S:
            assert all(each is not None and each.since_s is None for each in found[1:])
            assert found[0] is not None
            assert found[0].fps == pytest.approx(30, rel=0.25)
    assert all(each is not None and each.since_s is None for each in found)
    assert sum(each.fps for each in found if each) == pytest.approx(120)


def test_a_pod_that_is_left_alone_gets_the_whole_demand() -> None:
    window = DemandWindow(WINDOW_S)
    popped = own = 0
    for tick in range(1, 65):
        popped += 60
        own += 60 if tick > 60 else 20
        change = window.add(Flow(tick * TICK_S, popped, popped, own))
    assert change is not None
    assert change.fps == pytest.approx(120)


@pytest.mark.parametrize("pods", [1, 2])
def test_the_whole_demand_shows_from_two_seconds_after_a_step_on_though_nothing_is_dropped_yet(pods: int) -> None:
    """For seconds the queue takes what pods cannot infer. Later it drops what has waited longer than `stale_s`."""
    capacity_fps, demand_fps, stale_s = 20.0 * pods, 47.0 * pods, 2.0
    counters, windows = [FlowCounter(PAUSE_S) for _ in range(pods)], [DemandWindow(WINDOW_S) for _ in range(pods)]
    arrived = popped = dropped = 0
    for tick in range(1, 100):
        now_s = tick * TICK_S
        arrived = round(now_s * 10 + max(0.0, now_s - 30) * (demand_fps - 10))
        taken = min(arrived - popped - dropped, round(capacity_fps * TICK_S))
        popped += taken
        old = round(max(0.0, now_s - stale_s) * 10 + max(0.0, now_s - stale_s - 30) * (demand_fps - 10))
        lost = max(0, old - popped - dropped)
        dropped += lost
        waiting = arrived - popped - dropped
        found = []
        for number, (counter, window) in enumerate(zip(counters, windows, strict=True)):
            own = taken // pods
            found.append(window.add(counter.add(now_s, own, 0 if number else lost, waiting, (popped, dropped))))
        if now_s >= 32:
            assert all(found)
            assert sum(each.fps for each in found if each) == pytest.approx(demand_fps, rel=0.07), now_s


def test_frames_that_wait_when_the_demand_falls_are_not_demand_again() -> None:
    """The queue holds 100 frames at 30 s. Then 20 a second arrive, and a pod of 40 catches up."""
    counter, window = FlowCounter(PAUSE_S), DemandWindow(WINDOW_S)
    popped, waiting = 0, 100
    for tick in range(1, 40):
        popped, waiting = popped + (20 if waiting else 10), max(0, waiting - 10)
        found = window.add(counter.add(tick * TICK_S, 20 if waiting else 10, 0, waiting, (popped, 0)))
        if tick > 4:
            assert found is not None
            assert found.fps == pytest.approx(20, rel=0.1), tick


def test_a_pod_that_pops_nothing_has_no_share_of_the_demand() -> None:
    window = DemandWindow(WINDOW_S)
    assert [window.add(Flow(each / 2, 10.0 * each, 0.0, 0.0)) for each in range(20)] == [None] * 20


def test_broken_frames_are_no_demand() -> None:
    window = DemandWindow(WINDOW_S)
    popped = 0
    for tick in range(1, 65):
        popped += 100 if tick > 60 else 10
        change = window.add(Flow(tick * TICK_S, popped, popped, popped, popped // 2))
    assert change is not None
    assert change.fps == pytest.approx(100, rel=0.05)


def test_growth_of_the_queue_is_counted_once_by_the_pods_together() -> None:
    """Both pods see the same counters: 30 frames popped, 5 dropped and 12 more waiting have arrived."""
    pods = FlowCounter(PAUSE_S), FlowCounter(PAUSE_S)
    for pod in pods:
        pod.add(0.0, 0, 0, 3, (100, 10))
    pods[0].add(0.4, 20, 5, 9, (120, 15))
    flows = [pod.add(0.5, 5, 0, 15, (130, 15)) for pod in pods]
    assert [(each.arrived, each.popped) for each in flows] == [(47, 30), (47, 30)]
    assert flows[0].own == 25


def test_what_came_before_the_first_pop_or_in_a_pause_is_left_out() -> None:
    counter = FlowCounter(PAUSE_S)
    assert counter.add(0.0, 4, 100_000, 7, (10**6, 10**6)) == Flow(0.0, 0, 0, 0)
    assert counter.add(1.0, 4, 1, 7, (10**6 + 4, 10**6 + 1)) == Flow(1.0, 5, 4, 4)
    assert counter.add(10.0, 4, 100_000, 7, (2 * 10**6, 2 * 10**6)) == Flow(10.0, 5, 4, 4)


def test_without_the_shared_counters_a_pod_counts_its_own_frames() -> None:
    counter = FlowCounter(PAUSE_S)
    counter.add(0.0, 1, 0, 0, None)
    counter.add(1.0, 4, 2, 50, None)
    assert counter.flow == Flow(1.0, 6, 4, 4)
    counter.add(1.5, 1, 0, 0, (77, 5))  # the first one
    counter.add(2.0, 1, 0, 0, (3, 0))  # they began anew
    assert counter.flow == Flow(2.0, 8, 6, 6)


def test_more_drops_than_a_queue_can_have_are_not_believed() -> None:
    counter = FlowCounter(PAUSE_S)
    counter.add(0.0, 0, 0, 0, (0, 0))
    assert counter.add(0.5, 0, 0, 0, (0, 10**9)).arrived == MAX_DROPS_A_SECOND


@given(
    pops=st.lists(
        st.tuples(
            st.floats(0.001, 8.0),
            st.integers(0, 1000),
            st.integers(0, 10**12),
            st.integers(0, 5000),
            st.none() | st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)),
        ),
        min_size=2,
        max_size=60,
    )
)
@settings(max_examples=200, deadline=None)
def test_any_pops_give_a_finite_demand_that_is_not_negative(
    pops: list[tuple[float, int, int, int, tuple[int, int] | None]],
) -> None:
    counter, window = FlowCounter(PAUSE_S), DemandWindow(WINDOW_S)
    at_s, before = 0.0, counter.flow
    for wait_s, own, drops, waiting, totals in pops:
        at_s += wait_s
        flow = counter.add(at_s, own, drops, waiting, totals)
        assert flow.popped - before.popped >= flow.own - before.own >= 0
        before = flow
        change = window.add(flow)
        if change is not None:
            assert math.isfinite(change.fps)
            assert change.fps >= 0
            assert change.since_s is None or change.since_s <= at_s


@given(count=st.integers(0, 10**6), before=st.integers(0, 10**6), span=st.floats(0.01, 100), other=st.floats(0.01, 100))
def test_more_frames_are_a_larger_excess(count: int, before: int, span: float, other: float) -> None:
    found = excess(count, span, before, other)
    assert excess(count + 1, span, before, other) > found
    assert excess(count, span, before + 1, other) < found
    assert abs(excess(before, other, count, span) + found) < 1e-6 + 1e-9 * abs(found)


def test_random_counts_exceed_their_rate_as_the_normal_distribution_says() -> None:
    chance = random.Random(1)  # noqa: S311  a test's

    def poisson(mean: float) -> int:
        at, count = chance.expovariate(1), 0
        while at < mean:
            at, count = at + chance.expovariate(1), count + 1
        return count

    found = [excess(poisson(20), 1.0, poisson(60), 3.0) for _ in range(4000)]
    assert sum(found) / len(found) == pytest.approx(0, abs=0.08)
    assert sum(each**2 for each in found) / len(found) == pytest.approx(1, abs=0.1)


def test_bursts_vary_more_than_random_arrivals_and_a_step_is_no_noise() -> None:
    assert dispersion([10.0] * 20) == 1
    assert dispersion([]) == 1
    assert dispersion([0.0, 8.0] * 20) == 8
    assert dispersion([10.0] * 20 + [50.0] * 3) == 1


def test_a_change_begins_after_the_measurement_that_it_fell_into() -> None:
    times = [each / 2 for each in range(11)]
    counts = [0.0, 5, 10, 15, 20, 25, 40, 70, 100, 130, 160]
    assert change_of(list(zip(times, counts, strict=True)), times) == 6
    assert change_of(list(zip(times, counts, strict=True)), times, 50.0) is None
