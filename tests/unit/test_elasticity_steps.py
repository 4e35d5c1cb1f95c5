"""How the steps of `step-at-random` are judged, with runs of the simulation and runs that are wrong."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from tests.elasticity.record import Run, Sample
from tests.elasticity.scenarios import LOOK_EVERY_S, Scenario, further, random_steps
from tests.elasticity.simulated import UP
from tests.elasticity.steps import answers, look_phase_s, missed, summary
from tests.simulation.autoscaler import AutoscalerSettings, Direction, Policy
from tests.simulation.simulation import World, simulate

POD_FPS = 45.0
NEEDED = 4


def scenario() -> Scenario:
    return next(each for each in further() if each.name == "step-at-random")


def simulated(first_look_s: float, start_s: float = 10.0) -> Run:
    """The whole scenario, with pods that start in `start_s`."""
    chosen = scenario()
    settings = AutoscalerSettings(max_replicas=8, up=UP, down=Direction(60.0, (Policy("Percent", 100, 15.0),)))
    outcome = simulate(
        settings,
        World(pod_fps=POD_FPS, start_s=start_s),
        lambda at_s: chosen.demand(at_s) * POD_FPS,
        chosen.length_s,
        first_look_s=first_look_s,
    )
    found = Run(chosen.name, chosen.autoscaler, POD_FPS, start_s, chosen.changed_s, chosen.expected)
    found.samples = [
        Sample(step.at_s, step.demand_fps, step.capacity_fps, step.ratio, None, step.replicas, step.ready, 0.0)
        for step in outcome.steps
    ]
    return found


@pytest.mark.parametrize("first_look_s", [1.0, 6.0, 11.0])
def test_the_simulated_pool_meets_every_bar(first_look_s: float) -> None:
    run = simulated(first_look_s)
    found = answers(run, scenario().steps, NEEDED)
    assert len(found) == 20
    assert missed(found, NEEDED) == []
    assert run.oscillations() == scenario().turns
    assert run.in_the_end() == 1


def test_a_slow_start_and_a_late_or_excessive_answer_are_missed_bars() -> None:
    right = answers(simulated(1.0), scenario().steps, NEEDED)
    late = [dataclasses.replace(each, asked=2) for each in right[:3]]
    many = [dataclasses.replace(each, peak=5) for each in right[:3]]
    never = [dataclasses.replace(each, ready_s=None) for each in right[:11]]
    assert missed(late[:2] + right[2:], NEEDED) == []
    assert "17 of 20 steps had 4 pods asked for" in missed(late + right[3:], NEEDED)[0]
    assert "3 of 20 steps had more pods asked for later" in missed(many + right[3:], NEEDED)[0]
    assert summary(many + late + right[6:], NEEDED).startswith(
        "17 of 20 steps had 4 pods asked for at the first look, 3 "
    )
    assert "Ready after inf s" in missed(never + right[11:], NEEDED)[0]


def test_steps_come_at_moments_all_over_the_round() -> None:
    moments = sorted(each.up_s % LOOK_EVERY_S for each in random_steps(20))
    assert moments[0] < 3
    assert moments[-1] > 12
    assert all(later.up_s - earlier.down_s >= 90 for earlier, later in pairwise(scenario().steps))


@pytest.mark.parametrize("phase_s", [0.2, 7.5, 14.8])
def test_changes_tell_the_moments_of_the_looks(phase_s: float) -> None:
    changes = [(phase_s + LOOK_EVERY_S * each + (-1) ** each * 0.4, 1, 2) for each in range(1, 9)]
    assert abs(look_phase_s(changes) - phase_s) < 0.1
