"""The simulated loop in scenarios with a known outcome."""

import dataclasses
import math

import pytest
from tests.simulation.autoscaler import AutoscalerSettings, Direction, Policy
from tests.simulation.simulation import World, simulate
from tests.simulation.sweep import SHIPPED

SETTINGS = AutoscalerSettings(target=0.8, down=Direction(60.0, (Policy("Percent", 100, 15.0),)))
WORLD = World(pod_fps=20.0, start_s=8.0, noise=0.0)
PHASES = range(15)


@pytest.mark.parametrize("start_s", [8.0, 18.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_step_up_is_met_within_25_s_and_a_pods_start_whenever_it_comes(start_s: float, noise: float) -> None:
    world = dataclasses.replace(WORLD, start_s=start_s, noise=noise)
    right = math.ceil(2.8 / 0.8)
    exactly = 0
    for phase_s in PHASES:
        for seed in range(1, 5):
            run = simulate(SHIPPED.settings(), world, lambda at: 10.0 if at < 100 else 56.0, 400, seed=seed,
                           first_look_s=float(phase_s))  # fmt: skip
            met_s = next(each.at_s for each in run.steps if each.at_s >= 100 and each.ready >= right) - 100
            assert met_s <= 25 + start_s, (phase_s, seed)
            # A decision in the very second in which the first pods begin may add one too many.
            assert max(each.replicas for each in run.steps) <= right + 1, (phase_s, seed)
            exactly += run.steps[-1].replicas == right
    assert exactly >= 0.9 * 4 * len(PHASES)


def test_a_step_down_is_followed_when_the_window_is_over() -> None:
    for phase_s in PHASES:
        run = simulate(
            SETTINGS, WORLD, lambda at: 63.0 if at < 100 else 14.0, 400, replicas=4, first_look_s=float(phase_s)
        )
        # A decision within the ratio's window may see part of the step.
        assert [(before, after) for _, before, after in run.changes()] in ([(4, 1)], [(4, 3), (3, 1)])
        # 60 s after the last decision that saw the old demand: up to 15 s before the change or, by the ratio's window
        # and the scrape, some seconds after it.
        assert 145 <= run.changes()[0][0] <= run.changes()[-1][0] <= 175
        assert run.dropped_part == 0


def test_every_frame_is_inferred_dropped_or_waiting() -> None:
    outcome = simulate(SETTINGS, WORLD, lambda _: 100.0, 200)
    short = sum(max(0.0, step.demand_fps - step.capacity_fps) for step in outcome.steps)
    dropped = sum(step.dropped_fps for step in outcome.steps)
    assert dropped <= short
    assert dropped >= short - 100.0 * WORLD.queue_s


def test_new_pods_do_not_count_what_came_before_them() -> None:
    """After a step to 2.8 pods four are enough; if all pods had the old window, nine would be requested."""
    for keda in (False, True):
        world = dataclasses.replace(WORLD, start_s=4.0, keda=keda)
        for phase_s in PHASES:
            run = simulate(
                SHIPPED.settings(), world, lambda at: 10.0 if at < 100 else 56.0, 200, first_look_s=float(phase_s)
            )
            assert max(each.replicas for each in run.steps) <= 7


def test_what_came_before_a_pods_start_does_not_count_in_its_rate() -> None:
    """In its first second, a pod at ten times its capacity reports what arrives, over two seconds."""
    world = dataclasses.replace(WORLD, keda=True)
    first = []
    for seed in range(1, 21):
        run = simulate(SETTINGS, world, lambda _: 200.0, 30, replicas=0, seed=seed)
        first.append(next(each.ratio for each in run.steps if each.ratio > 0))
    assert min(first) == pytest.approx(5)
    assert max(first) <= 10


def test_a_fresh_autoscaler_leaves_idle_pods_alone_for_its_window() -> None:
    run = simulate(SHIPPED.settings(), WORLD, lambda _: 5.0, 500, replicas=4, first_look_s=20.0)
    assert run.changes() == [(320.0, 4, 1)]


def test_an_unavailable_metric_changes_nothing() -> None:
    world = World(noise=0.0, outages=((50.0, 400.0),))
    outcome = simulate(SETTINGS, world, lambda at: 14.0 if at < 60 else 80.0, 390)
    assert outcome.changes() == []


def test_keda_keeps_the_pool_after_an_outage_longer_than_the_cooldown() -> None:
    """Prometheus comes back empty: a type with pods but without a ratio is an error, not zero demand."""
    world = dataclasses.replace(WORLD, keda=True, outages=((100.0, 500.0),))
    for phase_s in PHASES:
        run = simulate(SETTINGS, world, lambda _: 48.0, 700, replicas=3, first_look_s=20.0 + phase_s)
        assert run.changes() == []


def test_keda_wakes_from_zero_and_goes_back_when_the_ratio_has_been_zero_for_the_cooldown() -> None:
    world = World(noise=0.0, keda=True)
    outcome = simulate(SETTINGS, world, lambda at: 14.0 if 100 <= at < 300 else 0.0, 700, replicas=0)
    up, down = outcome.changes()
    assert up[1:] == (0, 1)
    assert 100 <= up[0] <= 104
    assert down[1:] == (1, 0)
    # The ratio's window, the scrape and a poll: the triggers become inactive, then the cooldown runs.
    assert 300 + 5 + world.cooldown_s < down[0] <= 300 + 30 + world.cooldown_s


def test_the_same_seed_gives_the_same_run() -> None:
    noisy = World(noise=0.2)
    first = simulate(SETTINGS, noisy, lambda _: 50.0, 300, seed=3)
    again = simulate(SETTINGS, noisy, lambda _: 50.0, 300, seed=3)
    other = simulate(SETTINGS, noisy, lambda _: 50.0, 300, seed=4)
    # Before the first measurement the ratio is NaN, which equals nothing: compare as text.
    assert repr(first.steps) == repr(again.steps)
    assert repr(first.steps) != repr(other.steps)


@pytest.mark.parametrize("keda", [False, True])
@pytest.mark.parametrize("phase_s", range(3))
def test_a_prometheus_that_comes_back_reads_one_pod_after_the_other_and_nothing_changes(
    keda: bool, phase_s: int
) -> None:
    """The scale-in window is empty after an outage that is longer: the first value decides at once."""
    world = dataclasses.replace(WORLD, keda=keda, outages=((100, 200),))
    fewest = {}
    for whole in (True, False):
        run = simulate(
            SETTINGS,
            dataclasses.replace(world, whole=whole),
            lambda _: 6.8 * WORLD.pod_fps,
            300,
            replicas=9,
            first_look_s=200 % 15 + phase_s,
        )
        fewest[whole] = min(each.replicas for each in run.steps)
    assert fewest[True] == 9
    # Without that rule KEDA would act on the sum of some pods. The other autoscaler knows which pods are missing.
    assert (fewest[False] < 9) == keda


@pytest.mark.parametrize("keda", [False, True])
def test_the_right_count_is_asked_for_at_the_first_look_that_comes_7_s_after_a_step(keda: bool) -> None:
    """Whatever the moment of the scrape and of the controller's round, and no pod too many while the others join."""
    world = dataclasses.replace(WORLD, start_s=9.0, keda=keda)
    right = math.ceil(2.7 / 0.8)
    for phase_s in range(60):
        step_s = 100 + phase_s % 15
        run = simulate(
            SHIPPED.settings(),
            world,
            lambda at, step_s=step_s: 10.0 if at < step_s else 54.0,  # type: ignore[misc]
            700,
            seed=phase_s,
            first_look_s=10.0,
        )
        look_s = next(at for at in range(10, 700, 15) if at >= step_s + 7)
        assert [each.replicas for each in run.steps[look_s:]] == [right] * (700 - look_s), (step_s, look_s)
