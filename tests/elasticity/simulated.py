"""The same scenario in the simulation, for the table of agreement."""

from __future__ import annotations

import math
import statistics
from typing import Any

from elastic_inference.planning.autoscaler import AutoscalerSettings, Direction, Policy
from elastic_inference.planning.simulation import Outcome, World, simulate
from tests.elasticity.record import Run
from tests.elasticity.scenarios import TARGET, Scenario

UP = Direction(0.0, (Policy("Percent", 400, 15.0), Policy("Pods", 8, 15.0)))
SEEDS = range(1, 11)


def simulate_run(run: Run, scenario: Scenario, window_s: int) -> dict[str, Any]:
    """Median over ten seeds: seconds to the first and to the lasting right count, changes, part dropped."""
    window = 300.0 if scenario.shipped_windows else float(window_s)
    settings = AutoscalerSettings(
        target=TARGET, max_replicas=6, up=UP, down=Direction(window, (Policy("Percent", 100, 15.0),))
    )
    away: list[tuple[float, float]] = []
    for at_s, what in scenario.disturb:
        if what.endswith("-off"):
            away.append((at_s, math.inf))
        elif what.endswith("-on"):
            away[-1] = (away[-1][0], at_s)
    world = World(
        pod_fps=run.pod_fps,
        start_s=run.start_s or 8.0,
        keda=scenario.autoscaler == "keda",
        polling_s=3.0,
        cooldown_s=window,
        metrics_away=tuple(away),
        pod_killed_at=tuple(float(at_s) for at_s, what in scenario.disturb if what == "kill"),
    )
    outcomes = [
        simulate(
            settings,
            world,
            lambda at_s: scenario.demand(at_s) * run.pod_fps,
            scenario.length_s,
            replicas=scenario.start,
            seed=seed,
        )
        for seed in SEEDS
    ]
    reached = [_reached(each, run.changed_at_s, run.expected) for each in outcomes]
    settled = [each.settled_s(run.changed_at_s, run.expected) for each in outcomes]
    return {
        "reached_s": _median(reached),
        "settled_s": _median(settled),
        "changes": statistics.median(len(each.changes()) for each in outcomes),
        "dropped_part": round(statistics.median(each.dropped_part for each in outcomes), 4),
    }


def _reached(outcome: Outcome, since_s: float, replicas: int) -> float | None:
    for each in outcome.steps:
        if each.at_s >= since_s and each.replicas == each.ready == replicas:
            return each.at_s - since_s
    return None


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if len(known) * 2 > len(values) else None
