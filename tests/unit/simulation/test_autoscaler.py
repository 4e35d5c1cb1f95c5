"""The HPA controller's algorithm, case by case, after its source."""

import pytest
from tests.simulation.autoscaler import (
    Autoscaler,
    AutoscalerSettings,
    Direction,
    Policy,
    from_pods,
    from_total,
)

ONE = AutoscalerSettings(target=1.0)
AT_ONCE = Direction(0.0, ())


def scaler(**changes: object) -> Autoscaler:
    """A target of 1, up to 100 pods, and no windows or limits except those given."""
    settings = {"target": 1.0, "max_replicas": 100, "up": AT_ONCE, "down": AT_ONCE, **changes}
    return Autoscaler(AutoscalerSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("current", "metric", "wanted"),
    [
        (1, 2.0, 2),  # double the metric, double the replicas
        (4, 0.5, 2),  # half of it, half the replicas
        (10, 1.05, 10),  # within the tolerance of 0.1
        (10, 0.95, 10),
        (10, 1.11, 12),  # ceil(11.1)
        (3, 0.4, 2),  # ceil(1.2)
    ],
)
def test_replicas_follow_the_ratio_of_metric_to_target(current: int, metric: float, wanted: int) -> None:
    assert from_pods(ONE, current, metric * current, current) == wanted
    assert from_total(ONE, current, metric * current) == wanted


def test_without_any_metric_there_is_no_proposal() -> None:
    assert from_pods(ONE, 3, 0.0, 0, missing=3) is None


@pytest.mark.parametrize("kind", ["missing", "pending"])
def test_pods_without_a_metric_count_as_idle_when_scaling_out(kind: str) -> None:
    # 2 pods at twice the target and 2 starting: the load of 4 pods on 4 pods is on target.
    assert from_pods(ONE, 4, 4.0, 2, **{kind: 2}) == 4
    assert from_pods(ONE, 4, 6.0, 2, **{kind: 2}) == 6


def test_scaling_in_counts_running_pods_without_a_metric_as_on_target_and_leaves_pending_ones_out() -> None:
    assert from_pods(ONE, 4, 0.2, 2, missing=2) == 3  # ceil(0.2 + 2)
    assert from_pods(ONE, 4, 0.2, 2, pending=2) == 1  # ceil(0.2)
    assert from_pods(ONE, 7, 1.7, 2, missing=2, pending=3) == 7  # 3.7 of 4 is near enough


def test_a_pod_without_a_metric_never_reverses_the_direction() -> None:
    assert from_pods(ONE, 4, 2.4, 2, missing=2) == 4  # 1.2 of the measured, 0.6 of all


def test_an_external_sum_does_not_know_starting_pods() -> None:
    # The sum divided by all replicas, Ready or not: a load of 4 pods on 4 is on target, 5 is not.
    assert from_total(ONE, 4, 4.0) == 4
    assert from_total(ONE, 4, 5.0) == 5
    assert from_total(ONE, 4, 0.0) == 0


def test_limits_hold() -> None:
    assert scaler(max_replicas=6).decide(0.0, 5, 45) == 6
    assert scaler(min_replicas=2).decide(0.0, 5, 0) == 2


def test_scale_out_follows_the_selected_policy() -> None:
    policies = (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0))
    assert scaler(up=Direction(0.0, policies)).decide(0.0, 1, 50) == 5
    assert scaler(up=Direction(0.0, policies)).decide(0.0, 10, 500) == 20
    assert scaler(up=Direction(0.0, policies, "Min")).decide(0.0, 10, 500) == 14
    assert scaler(up=Direction(0.0, policies, "Disabled")).decide(0.0, 10, 500) == 10


def test_scale_in_follows_the_selected_policy() -> None:
    policies = (Policy("Percent", 50, 15.0), Policy("Pods", 2, 15.0))
    assert scaler(down=Direction(0.0, policies)).decide(0.0, 10, 1) == 5
    assert scaler(down=Direction(0.0, policies, "Min")).decide(0.0, 10, 1) == 8
    assert scaler(down=Direction(0.0, policies, "Disabled")).decide(0.0, 10, 1) == 10


def test_changes_within_a_period_count_against_the_policy() -> None:
    limited = scaler(up=Direction(0.0, (Policy("Pods", 4, 60.0),)))
    assert limited.decide(0.0, 1, 50) == 5
    assert limited.decide(15.0, 5, 50) == 5
    assert limited.decide(60.0, 5, 50) == 9


def test_the_start_of_a_period_counts_changes_of_both_directions() -> None:
    limited = scaler(up=Direction(0.0, (Policy("Pods", 4, 60.0),)))
    assert limited.decide(0.0, 10, 2) == 2
    # 2 + 8 that ended within the minute + 4
    assert limited.decide(15.0, 2, 50) == 14


@pytest.mark.parametrize(
    ("direction", "decisions"),
    [
        ("down", ((0.0, 4, 4), (15.0, 1, 4), (45.0, 1, 4), (60.0, 1, 1))),
        ("up", ((0.0, 4, 1), (15.0, 4, 1), (60.0, 3, 3))),
    ],
)
def test_a_change_waits_for_its_window_and_not_longer(
    direction: str, decisions: tuple[tuple[float, int, int], ...]
) -> None:
    windowed = scaler(**{direction: Direction(60.0, ())})
    current = decisions[0][2]
    for at_s, proposal, wanted in decisions:
        assert windowed.decide(at_s, current, proposal) == wanted


def test_a_new_autoscaler_waits_for_its_window_too() -> None:
    fresh = scaler(down=Direction(300.0, ()))
    assert [fresh.decide(at_s, 4, 1) for at_s in (0.0, 285.0, 300.0)] == [4, 4, 1]


def test_a_decision_without_metrics_changes_nothing_and_is_not_remembered() -> None:
    windowed = scaler(down=Direction(60.0, ()))
    assert windowed.decide(0.0, 4, 4) == 4
    for at_s in range(15, 90, 15):
        assert windowed.decide(at_s, 4, None) == 4
    # Older values are out of the window: the outage delays nothing.
    assert windowed.decide(90.0, 4, 1) == 1
