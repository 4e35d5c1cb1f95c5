"""How a run of `make test-elasticity` is judged: no cluster needed."""

from __future__ import annotations

import dataclasses

import pytest
from tests.elasticity.judge import problems_of
from tests.elasticity.plot import plot
from tests.elasticity.record import Run, Sample, from_dict
from tests.elasticity.scenarios import Scenario, default, further, pods


def run(replicas: list[int], ready: list[int], expected: int, changed_at_s: float = 2.0) -> Run:
    found = Run("step-up", "hpa-ratio", 30.0, 5.0, changed_at_s, expected)
    found.samples = [
        Sample(float(at_s), 10.0, 30.0, 0.8, None, wanted, there, 0.0)
        for at_s, (wanted, there) in enumerate(zip(replicas, ready, strict=True))
    ]
    return found


def test_reached_and_settled_count_from_the_change() -> None:
    found = run([1, 1, 1, 4, 4, 4], [1, 1, 1, 1, 4, 4], 4)
    assert (found.reached_s(), found.settled_s()) == (2.0, 2.0)
    assert (found.overshoot(), found.oscillations()) == (0, 0)


def test_a_count_that_does_not_stay_is_not_settled() -> None:
    found = run([1, 1, 4, 4, 5, 5], [1, 1, 4, 4, 4, 5], 4)
    assert found.reached_s() == 0.0
    assert found.settled_s() is None
    assert found.peak() == 5
    assert found.overshoot() == 1


def test_pods_that_do_not_stay_ready_are_not_settled() -> None:
    assert run([1, 1, 4, 4, 4, 4], [1, 1, 4, 4, 3, 3], 4).settled_s() is None
    assert run([1, 1, 4, 4, 4, 4], [1, 1, 4, 3, 4, 4], 4).settled_s() == 2.0


def test_a_reversed_scale_in_is_two_turns() -> None:
    assert run([1, 4, 4, 2, 4, 4], [1, 4, 4, 2, 4, 4], 4).oscillations() == 2


def test_every_frame_is_accounted_for() -> None:
    found = run([1], [1], 1)
    found.pushed, found.inferred, found.lost, found.dropped = 100, 90, 1, {"stale": 4, "queue_full": 5}
    assert found.unaccounted() == 0


def test_a_run_can_be_read_back_from_its_json_and_drawn() -> None:
    found = run([1, 1, 1, 4], [1, 1, 1, 4], 4)
    again = from_dict(dict(found.as_dict()))
    assert again == found
    assert plot(again).count("<path") > 5


def test_scenarios_have_distinct_names_and_end_at_the_number_of_the_target() -> None:
    every = [*default(), *further()]
    assert len({each.name for each in every}) == len(every)
    for each in every:
        demand = each.demand(each.length_s - 1)
        if demand > 0:
            assert each.expected == pods(demand / each.size_at(each.length_s)), each.name


def test_a_type_that_had_no_pod_is_woken() -> None:
    found = run([0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 0], 0)
    assert found.woken_s() is None, "there were frames from the start"
    for each in found.samples[:2]:
        each.demand_fps = 0.0
    assert found.woken_s() == 2.0
    assert (found.in_the_end(), found.overshoot()) == (0, 0)


def test_a_killed_pod_counts_until_its_loss_is_noticed() -> None:
    found = run([3, 3, 3, 3, 3, 3], [3, 3, 3, 2, 2, 3], 3)
    assert (found.reached_s(), found.settled_s()) == (3.0, 3.0)


def judged(name: str, found: Run) -> list[str]:
    """The problems of a run of this scenario, with windows of 60 s."""
    scenario = next(each for each in (*default(), *further()) if each.name == name)
    found = dataclasses.replace(found, autoscaler=scenario.autoscaler, expected=scenario.expected)
    found.changed_at_s = scenario.changed_s
    return problems_of(found, scenario, 60)


def held(scenario_name: str, *parts: tuple[float, int, int]) -> Run:
    """A run of the scenario's length; each part is (second, pods wanted, pods Ready) from then on."""
    scenario: Scenario = next(each for each in (*default(), *further()) if each.name == scenario_name)
    found = Run(scenario_name, scenario.autoscaler, 30.0, 14.0, scenario.changed_s, scenario.expected)
    for at_s in range(int(scenario.length_s)):
        wanted, ready = next((wanted, ready) for since_s, wanted, ready in reversed(parts) if at_s >= since_s)
        found.samples.append(
            Sample(float(at_s), scenario.demand(at_s) * 30.0, ready * 30.0, 0.8, None, wanted, ready, 0.0)
        )
    return found


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("step-up", ((0, 1, 1), (70, 4, 1), (95, 4, 4))),
        ("step-up-keda", ((0, 1, 1), (50, 4, 1), (75, 4, 4))),
        ("step-up-keda-push", ((0, 1, 1), (45, 4, 1), (70, 4, 4))),
        ("step-down", ((0, 4, 4), (120, 1, 1))),
        ("from-zero", ((0, 0, 0), (33, 1, 0), (50, 1, 1), (190, 0, 0))),
        ("burst", ((0, 1, 1), (75, 4, 1), (90, 4, 4), (150, 1, 1))),
        ("prometheus-down-keda", ((0, 1, 1), (255, 4, 1), (275, 4, 4))),
        ("shipped-windows", ((0, 4, 4), (360, 1, 1))),
    ],
)
def test_a_good_run_has_no_problems(name: str, parts: tuple[tuple[float, int, int], ...]) -> None:
    assert judged(name, held(name, *parts)) == []


@pytest.mark.parametrize(
    ("name", "parts", "problem"),
    [
        ("step-up", ((0, 1, 1), (70, 4, 1), (105, 4, 4)), "Ready after 45 s, more than 39 s"),
        ("step-up-keda", ((0, 1, 1), (70, 4, 1), (150, 4, 4)), "more than 39 s"),
        ("step-up-keda-push", ((0, 1, 1), (70, 4, 1), (150, 4, 4)), "more than 39 s"),
        ("step-up", ((0, 1, 1), (70, 4, 1), (85, 4, 4), (100, 4, 3)), "did not stay Ready"),
        ("step-up", ((0, 1, 1), (70, 4, 4), (300, 3, 3), (330, 4, 4)), "changes of direction"),
        ("step-down", ((0, 4, 4), (290, 1, 1)), "more than 120 s"),
        ("from-zero", ((0, 0, 0), (80, 1, 0), (90, 1, 1), (190, 0, 0)), "the first pod after 60.0 s"),
        ("burst", ((0, 1, 1), (75, 6, 6), (293, 1, 1)), "Ready after 223 s"),
        ("adapter-down", ((0, 1, 1), (150, 3, 3), (200, 1, 1), (260, 4, 4)), "while nothing was measured"),
        ("shipped-windows", ((0, 4, 4), (180, 1, 1)), "before the window"),
    ],
)
def test_a_bad_run_has_its_problem(name: str, parts: tuple[tuple[float, int, int], ...], problem: str) -> None:
    assert problem in "; ".join(judged(name, held(name, *parts)))


def test_unaccounted_frames_are_a_problem() -> None:
    found = held("step-up", (0, 1, 1), (70, 4, 4))
    found.pushed, found.inferred = 40_000, 39_500
    assert "500 frames unaccounted" in "; ".join(judged("step-up", found))
    found.inferred, found.lost = 39_999, 1
    assert "1 frames lost" in "; ".join(judged("step-up", found))


def test_pods_of_a_scenario_have_the_size_of_their_last_resize() -> None:
    scenarios = {each.name: each for each in default()}
    sizes = {name: [scenarios[name].size_at(at_s) for at_s in (0, 59.9, 60, 200)] for name in scenarios}
    assert sizes["resize-up"] == [1, 1, 4, 4]
    assert sizes["resize-down"] == [4, 4, 1, 1]
    assert sizes["step-up"] == [1, 1, 1, 1]
    for name in ("resize-up", "resize-down"):
        each = scenarios[name]
        for at_s, expected in ((0.0, each.start), (200.0, each.expected)):
            assert pods(each.demand(at_s) / each.size_at(at_s)) == expected
