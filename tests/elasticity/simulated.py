"""The same scenario in the simulation, for the table of agreement."""

from __future__ import annotations

import math
import statistics
from typing import Any

from tests.elasticity.load import STREAMS
from tests.elasticity.record import Run, Sample
from tests.elasticity.scenarios import TARGET, Scenario
from tests.simulation.autoscaler import AutoscalerSettings, Direction, Policy
from tests.simulation.simulation import Outcome, World, simulate

UP = Direction(0.0, (Policy("Percent", 400, 15.0), Policy("Pods", 8, 15.0)))
SEEDS = range(1, 11)
# A scenario's first demand runs under its autoscaler for this time before the clock starts; KEDA first creates its HPA.
WARM_S = 20
FIRST_LOOK_S = {"hpa-ratio": 1.0, "keda": 3.0, "keda-push": 3.0}
# From scaling up a part of the metrics chain again to its first answer, on the measured cluster.
BACK_S = {"adapter": 8.0, "prometheus": 10.0}
DEPTH, MAX_AGE_S = 4, 2.0


def simulate_run(run: Run, scenario: Scenario, window_s: int) -> dict[str, Any]:
    """Medians over ten seeds: seconds until the right count is reached and until it stays, changes, part dropped.

    It starts as the measured run did, with the same warm-up and the autoscaler's first decision at its creation. A
    pod's capacity and start time, and the error of its ratio before anything happened, are the measured ones.
    """
    window = 300.0 if scenario.shipped_windows else float(window_s)
    settings = AutoscalerSettings(
        target=TARGET, max_replicas=8, up=UP, down=Direction(window, (Policy("Percent", 100, 15.0),))
    )
    world = _world(run, scenario, window)
    outcomes = [
        simulate(
            settings,
            world,
            lambda at_s: scenario.demand(max(0.0, at_s - WARM_S)) * run.pod_fps,
            scenario.length_s + WARM_S,
            replicas=scenario.start,
            seed=seed,
            first_look_s=FIRST_LOOK_S.get(scenario.autoscaler, 0.0),
        )
        for seed in SEEDS
    ]
    changed_s = WARM_S + run.changed_at_s
    for each in outcomes:
        del each.steps[:WARM_S]
    return {
        "reached_s": _median([_reached(each, changed_s, run.expected) for each in outcomes]),
        "settled_s": _median([each.settled_s(changed_s, run.expected) for each in outcomes]),
        "changes": statistics.median(len(each.changes()) for each in outcomes),
        "dropped_part": round(statistics.median(each.dropped_part for each in outcomes), 4),
    }


def _world(run: Run, scenario: Scenario, window_s: float) -> World:
    gain, noise = _reads(run, scenario)
    push = scenario.autoscaler == "keda-push"
    offered_fps = run.pod_fps * max(scenario.demand(at_s) for at_s in range(int(scenario.length_s)))
    return World(
        pod_fps=run.pod_fps,
        start_s=run.start_s or 8.0,
        reads=gain,
        noise=noise,
        queue_s=min(MAX_AGE_S, STREAMS * DEPTH / offered_fps),
        keda=scenario.autoscaler.startswith("keda"),
        push=push,
        # Pods report every second, and are scraped every five.
        scrape_s=1 if push else World.scrape_s,
        cooldown_s=window_s,
        outages=tuple(_outages(scenario)),
        pod_killed_at=tuple(WARM_S + at_s for at_s, what in scenario.disturb if what == "kill"),
    )


def _outages(scenario: Scenario) -> list[tuple[float, float]]:
    outages: list[tuple[float, float]] = []
    for at_s, what in scenario.disturb:
        part, _, state = what.partition("-")
        if state == "off":
            outages.append((WARM_S + at_s, math.inf))
        elif state == "on":
            outages[-1] = (outages[-1][0], WARM_S + at_s + BACK_S[part])
    return outages


def _reads(run: Run, scenario: Scenario) -> tuple[float, float]:
    """The factor by which the ratio of pods that were not full read too high before the first event, and its noise."""
    until_s = min([run.changed_at_s, *(at_s for at_s, _ in scenario.disturb)])
    parts = [_part(each) for each in run.samples if each.at_s < until_s]
    known = [part for part in parts if part is not None]
    if len(known) < 5:
        return 1.0, 0.03
    gain = statistics.fmean(known)
    return max(1.0, gain), statistics.pstdev(known) / gain * math.sqrt(max(1, scenario.start))


def _part(sample: Sample) -> float | None:
    if sample.ratio is None or not 0 < sample.demand_fps < sample.capacity_fps:
        return None
    return sample.ratio * sample.capacity_fps / sample.demand_fps


def _reached(outcome: Outcome, since_s: float, replicas: int) -> float | None:
    for each in outcome.steps:
        if each.at_s >= since_s and each.replicas == each.ready == replicas:
            return each.at_s - since_s
    return None


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if len(known) * 2 > len(values) else None
