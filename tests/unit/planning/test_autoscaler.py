"""The documented HPA algorithm, case by case."""

import pytest

from elastic_inference.planning.autoscaler import Autoscaler, AutoscalerSettings, Direction, Policy


def decide(current: int, ready: list[float], not_ready: int = 0, **changes: object) -> int:
    settings = AutoscalerSettings(**{"target": 1.0, "max_replicas": 100, "down": Direction(0.0, ()), **changes})  # type: ignore[arg-type]
    return Autoscaler(settings).decide(0.0, current, ready, not_ready)


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
    assert decide(current, [metric] * current) == wanted


def test_without_any_metric_nothing_changes() -> None:
    assert decide(3, [], 3) == 3


def test_pods_without_a_metric_count_as_idle_when_scaling_out() -> None:
    # 2 pods at twice the target and 2 that start: 4 pods' worth of load over 4 pods is on target.
    assert decide(4, [2.0, 2.0], 2) == 4
    assert decide(4, [3.0, 3.0], 2) == 6


def test_pods_without_a_metric_count_as_on_target_when_scaling_in() -> None:
    assert decide(4, [0.1, 0.1], 2) == 3  # ceil(0.2 + 2)


def test_limits_hold() -> None:
    assert decide(5, [9.0] * 5, max_replicas=6) == 6
    assert decide(5, [0.0] * 5, min_replicas=2) == 2


def test_scale_out_keeps_to_the_most_generous_policy() -> None:
    up = Direction(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)))
    assert decide(1, [50.0], up=up) == 5
    assert decide(10, [50.0] * 10, up=up) == 20


def test_changes_within_a_period_count_against_the_policy() -> None:
    up = Direction(0.0, (Policy("Pods", 4, 60.0),))
    scaler = Autoscaler(AutoscalerSettings(target=1.0, max_replicas=100, up=up))
    assert scaler.decide(0.0, 1, [50.0], 0) == 5
    assert scaler.decide(15.0, 5, [50.0] * 5, 0) == 5
    assert scaler.decide(61.0, 5, [50.0] * 5, 0) == 9


def test_scale_in_waits_for_its_window() -> None:
    down = Direction(60.0, (Policy("Percent", 100, 15.0),))
    scaler = Autoscaler(AutoscalerSettings(target=1.0, down=down))
    assert scaler.decide(0.0, 4, [1.0] * 4, 0) == 4
    assert scaler.decide(15.0, 4, [0.25] * 4, 0) == 4
    assert scaler.decide(60.0, 4, [0.25] * 4, 0) == 4
    assert scaler.decide(75.0, 4, [0.25] * 4, 0) == 1
