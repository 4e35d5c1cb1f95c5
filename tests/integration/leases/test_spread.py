"""How new items are shared, and that workers with equal loads leave each other's items alone."""

from __future__ import annotations

import time

import redis

from elastic_inference.domain import leases
from tests.integration.leases.test_rounds import WANTED, NewWorker, rounds, want, worker

__all__ = ["worker"]
# After this a cost counts as measured.
MEASURED_S = 3.1
# After this an estimate that its worker has not replaced counts as measured too: the machine stood still for so long.
GUESSED_S = 9.5
# This long after a look at some 150 items, the next round looks at all of them again.
MANY_S = 0.04


def test_cheap_items_stay_where_they_are(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 40, 0.0004)
    pair = [worker("a"), worker("b")]
    for each in pair:
        each.cost = 0.0004
    rounds(*pair, count=6)
    before = [set(each.names) for each in pair]
    assert sorted(map(len, before)) == [20, 20]
    rounds(*pair)
    assert [each.names for each in pair] == before


def test_new_items_are_expected_to_cost_what_the_others_do(client: redis.Redis, worker: NewWorker) -> None:
    for attempt in range(20):
        client.flushall()
        want(client, 60, 0.15)
        pair = [worker(f"a{attempt}", capacity=1.0), worker(f"b{attempt}", capacity=1.0)]
        began = time.monotonic()
        for each in pair:
            each.cost = 0.01
            each.round()
        first = [set(each.names) for each in pair]
        time.sleep(MEASURED_S)
        rounds(*pair, count=2)
        if time.monotonic() - began < GUESSED_S:
            break
    assert [len(names) for names in first] == [6, 6], "as many as the estimate allows"
    assert [len(each.names) for each in pair] == [30, 30]
    assert all(names <= each.names for names, each in zip(first, pair, strict=True)), "nothing had to move"


def test_many_equal_items_are_spread_within_one(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 150, 0.01)
    one, two = worker("one"), worker("two")
    one.cost = two.cost = 0.01
    rounds(one, count=6, pause_s=MANY_S)
    assert len(one.names) == 150
    rounds(two, one, count=25, pause_s=MANY_S)
    assert abs(len(one.names) - len(two.names)) <= 1
    client.hset(WANTED, "one-more", "1 0.01")
    before = [set(each.names) for each in (one, two)]
    rounds(two, one, pause_s=MANY_S)
    assert sum(len(each.names - names) for names, each in zip(before, (one, two), strict=True)) == 1


def test_one_who_comes_just_after_another_gets_its_turn_to_look(client: redis.Redis, worker: NewWorker) -> None:
    """Looks at this many items are 30 ms apart. A round is 50 ms here, and the second worker begins 12 ms later."""
    want(client, 150, 0.01)
    one, two = worker("one"), worker("two")
    one.cost = two.cost = 0.01
    rounds(one, count=6, pause_s=MANY_S)
    at_s = time.monotonic()
    due = [(at_s, 0), (at_s + 0.012, 1)]
    for _ in range(400):
        at_s, number = min(due)
        time.sleep(max(0.0, at_s - time.monotonic()))
        (one, two)[number].round()
        due[number] = (max(at_s, time.monotonic() - 0.05) + 0.05 * leases.round_s(), number)
        if abs(len(one.names) - len(two.names)) <= 1:
            break
    assert abs(len(one.names) - len(two.names)) <= 1


def test_items_that_wait_cost_what_measured_ones_do_and_a_known_cost_stays(
    client: redis.Redis, worker: NewWorker
) -> None:
    """The estimate of those that wait decides how many workers an autoscaler adds."""
    for attempt in range(20):
        client.flushall()
        want(client, 5, 0.15)
        only = worker(f"only{attempt}", capacity=0.3)
        only.cost = 0.04
        began = time.monotonic()
        first = only.round()
        assert [each.cost for each in first.unassigned.values()] == [0.15] * 3
        client.hset(WANTED, mapping={"known": "1 +0.29", **{f"more-{number}": "1 0.15" for number in range(6)}})
        time.sleep(MEASURED_S)
        rounds(only, count=2)
        if time.monotonic() - began < GUESSED_S:
            break
    costs = {name: each.cost for name, each in only.last.unassigned.items()}
    assert costs.pop("known") == 0.29, "measured before, or taken from like ones"
    assert len(only.names) == 7
    assert len(costs) == 4
    assert all(abs(cost - 0.04) < 0.001 for cost in costs.values()), costs
