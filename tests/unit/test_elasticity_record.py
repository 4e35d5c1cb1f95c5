"""How a run of `make test-elasticity` is judged: no cluster needed."""

from __future__ import annotations

from tests.elasticity.plot import plot
from tests.elasticity.record import Run, Sample, from_dict
from tests.elasticity.scenarios import default, further, pods


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
    assert found.overshoot() == 1


def test_a_scale_in_that_is_taken_back_is_two_turns() -> None:
    assert run([1, 4, 4, 2, 4, 4], [1, 4, 4, 2, 4, 4], 4).oscillations() == 2


def test_every_frame_is_in_the_books() -> None:
    found = run([1], [1], 1)
    found.pushed, found.inferred, found.lost, found.dropped = 100, 90, 1, {"stale": 4, "queue_full": 5}
    assert found.unaccounted() == 0


def test_a_run_survives_its_json_and_is_drawn() -> None:
    found = run([1, 1, 1, 4], [1, 1, 1, 4], 4)
    again = from_dict(dict(found.as_dict()))
    assert again == found
    assert plot(again).count("<path") > 5


def test_scenarios_have_names_of_their_own_and_end_where_the_target_says() -> None:
    every = [*default(), *further()]
    assert len({each.name for each in every}) == len(every)
    for each in every:
        demand = each.demand(each.length_s - 1)
        if demand > 0 and each.name != "from-zero":
            assert each.expected == pods(demand), each.name


def test_a_type_that_had_no_pod_is_woken() -> None:
    assert run([0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 0], 0).woken_s() == 2.0
    assert run([1, 1, 1, 4], [1, 1, 1, 4], 4).woken_s() is None


def test_a_killed_pod_counts_until_it_is_missed() -> None:
    found = run([3, 3, 3, 3, 3, 3], [3, 3, 3, 2, 2, 3], 3)
    assert (found.reached_s(), found.settled_s()) == (3.0, 3.0)
