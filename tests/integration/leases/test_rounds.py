"""Rounds of a few workers: claims, spread, hand-over and release."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from elastic_inference.adapters.leases import Holding, LeaseClient, Round
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys

GROUP = "things"
COST = 0.1
WANTED = keys.wanted(GROUP)
# So long that no pause of a busy machine ends it.
LONG_S = 60.0


class Worker:
    """A worker that runs exactly what its last round said."""

    def __init__(self, client: LeaseClient, capacity: float = 4.0) -> None:
        self.client = client
        self.capacity = capacity
        self.draining = False
        self.cost = COST
        self.last = Round()

    @property
    def names(self) -> set[str]:
        return set(self.last.held)

    def round(self) -> Round:
        holdings = {name: Holding(claim.epoch, self.cost) for name, claim in self.last.held.items()}
        self.last = self.client.renew(holdings, self.capacity, draining=self.draining)
        return self.last


NewWorker = Callable[..., Worker]


@pytest.fixture
def worker(valkey: EmbeddedValkey) -> Iterator[NewWorker]:
    made: list[Worker] = []

    def new(name: str, capacity: float = 4.0, lease_s: float = LONG_S) -> Worker:
        made.append(Worker(LeaseClient(redis.Redis(port=valkey.port), GROUP, name, lease_s), capacity))
        return made[-1]

    yield new
    for each in made:
        each.client.close()


def want(client: redis.Redis, count: int, cost: float = COST) -> None:
    client.hset(WANTED, mapping={":known": "1"} | {f"item-{number}": f"1 {cost}" for number in range(count)})


def rounds(*workers: Worker, count: int = 3) -> None:
    for _ in range(count):
        for each in workers:
            each.round()


def test_items_are_spread_and_each_has_one_worker(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 24)
    three = [worker(f"w{number}") for number in range(3)]
    rounds(*three)
    assert [len(each.names) for each in three] == [8, 8, 8]
    assert len(set().union(*(each.names for each in three))) == 24


def test_a_drain_hands_over_and_a_former_worker_learns_of_it(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 6)
    old, new = worker("old"), worker("new")
    rounds(old)
    before = dict(old.last.held)
    old.draining = True
    rounds(old, new, count=2)
    assert new.names == before.keys()
    assert old.last.leaving.keys() == before.keys()
    assert all(new.last.held[name].epoch > before[name].epoch for name in before)


def test_what_is_released_is_free_at_once(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 6)
    old, new = worker("old"), worker("new")
    rounds(old)
    old.client.release()
    assert len(new.round().held) == 6
    assert new.last.workers.keys() == {"new"}
