"""The simulated loop on scenarios whose outcome is known."""

import math

from elastic_inference.planning.autoscaler import AutoscalerSettings, Direction, Policy
from elastic_inference.planning.simulation import World, simulate

SETTINGS = AutoscalerSettings(target=0.8, down=Direction(60.0, (Policy("Percent", 100, 15.0),)))
WORLD = World(pod_fps=20.0, start_s=8.0, noise=0.0)


def test_a_step_up_reaches_the_right_count_and_stays() -> None:
    outcome = simulate(SETTINGS, WORLD, lambda at: 14.0 if at < 100 else 63.0, 700)
    settled_s = outcome.settled_s(100, math.ceil(63 / 20 / 0.8))
    assert settled_s is not None
    assert settled_s < 25 + WORLD.start_s + 60
    assert outcome.taken_back() == 0


def test_a_step_down_is_one_scale_in_after_the_window() -> None:
    outcome = simulate(SETTINGS, WORLD, lambda at: 63.0 if at < 100 else 14.0, 700, replicas=4)
    assert [(before, after) for _, before, after in outcome.changes()] == [(4, 1)]
    assert outcome.changes()[0][0] >= 160
    assert outcome.dropped_part == 0


def test_every_frame_is_done_dropped_or_waiting() -> None:
    outcome = simulate(SETTINGS, WORLD, lambda _: 100.0, 200)
    short = sum(max(0.0, step.demand_fps - step.capacity_fps) for step in outcome.steps)
    dropped = sum(step.dropped_fps for step in outcome.steps)
    assert dropped <= short
    assert dropped >= short - 100.0 * WORLD.queue_s


def test_a_metric_that_is_away_changes_nothing() -> None:
    world = World(noise=0.0, metrics_away=((50.0, 400.0),))
    outcome = simulate(SETTINGS, world, lambda at: 14.0 if at < 60 else 80.0, 390)
    assert outcome.changes() == []


def test_from_zero_and_back() -> None:
    world = World(noise=0.0, keda=True)
    outcome = simulate(SETTINGS, world, lambda at: 14.0 if 100 <= at < 300 else 0.0, 700, replicas=0)
    assert outcome.changes()[0][1:] == (0, 1)
    assert outcome.changes()[-1][2] == 0
    assert outcome.steps[-1].replicas == 0


def test_the_same_seed_gives_the_same_run() -> None:
    noisy = World(noise=0.2)
    first = simulate(SETTINGS, noisy, lambda _: 50.0, 300, seed=3)
    again = simulate(SETTINGS, noisy, lambda _: 50.0, 300, seed=3)
    other = simulate(SETTINGS, noisy, lambda _: 50.0, 300, seed=4)
    # Where nothing was measured yet the ratio is no number, which equals nothing: text compares.
    assert repr(first.steps) == repr(again.steps)
    assert repr(first.steps) != repr(other.steps)
