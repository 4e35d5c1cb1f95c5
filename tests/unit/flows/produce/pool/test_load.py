"""What cameras cost, and what a source worker tells the autoscaler."""

from __future__ import annotations

import pytest

from elastic_inference.domain.camera import COST_ESTIMATE
from elastic_inference.domain.leases import NoWorker, Unassigned
from elastic_inference.flows.produce.pool.costs import Costs
from elastic_inference.flows.produce.pool.load import Load


def test_a_camera_costs_what_its_threads_use() -> None:
    costs = Costs(5.0)
    assert costs.of("new") == COST_ESTIMATE
    for second in range(10):
        costs.note("gate", 0.2 * second, float(second))
    assert costs.of("gate") == pytest.approx(0.2)
    assert costs.of("new") == pytest.approx(0.2), "the mean of those that are known"
    costs.note("gate", 0.05, 10.0)
    assert 0 < costs.of("gate") < 0.25, "threads that start anew count from zero"
    costs.forget("gate")
    assert costs.measured("gate") is None


def test_the_ratio_is_used_and_missing_over_available() -> None:
    load = Load(2.0, 5.0)
    for second in range(6):
        load.note([(0, 0.1 * second), (1, 0.9 * second)], float(second))
    assert load.used == pytest.approx(1.0)
    assert load.scale_ratio((), 1) == pytest.approx(0.5)
    missing = [Unassigned(NoWorker.FULL, 1.5), Unassigned(NoWorker.FULL, 0.5), Unassigned(NoWorker.LARGE, 50.0)]
    assert load.scale_ratio(missing, 2) == pytest.approx(1.0)
    load.note([(0, 0.6)], 6.0)
    assert load.used == pytest.approx(0.1), "a process that has ended uses nothing"
