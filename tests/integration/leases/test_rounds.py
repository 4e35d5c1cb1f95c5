"""Rounds of a few workers: claims, spread, hand-over and release."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from elastic_inference.adapters.leases import Holding, LeaseClient, NoWorker, Round
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.waiting import wait_for

GROUP = "things"
COST = 0.1
WANTED = keys.wanted(GROUP)
# Longer than any pause of a busy machine.
LONG_S = 60.0
# Only some rounds look at all items. After this pause the next one does, if there are up to 100 items.
LOOK_S = 0.02


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


def rounds(*workers: Worker, count: int = 3, pause_s: float = LOOK_S) -> None:
    for _ in range(count):
        for each in workers:
            time.sleep(pause_s)
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


def test_what_is_being_handed_over_is_not_moved_on(client: redis.Redis, worker: NewWorker) -> None:
    """Its former worker, the only one that ran it by then, ended: nobody did until the third had opened it."""
    want(client, 6)
    old, new, late = worker("old"), worker("new"), worker("late")
    rounds(old)
    old.draining = True
    rounds(old, new, count=2)
    assert len(new.names) == 6
    rounds(late, new, old)
    assert old.last.leaving.keys() == new.names, "it runs them until the queue refuses its frames"
    assert len(new.names) == 6
    old.client.release()
    rounds(late, new)
    assert len(late.names) == 3


def test_a_former_worker_ends_where_the_new_one_cannot_begin_beside_it(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 2)
    old, new = worker("old"), worker("new")
    rounds(old)
    old.draining = True
    rounds(old, new, count=2)
    assert old.last.leaving.keys() == {"item-0", "item-1"}
    epoch = new.last.held["item-0"].epoch
    held = {name: Holding(claim.epoch, COST, blocked=name == "item-0") for name, claim in new.last.held.items()}
    assert new.client.renew(held, 4.0).held["item-0"].epoch == epoch
    assert old.round().leaving.keys() == {"item-1"}


def test_what_is_released_is_free_at_once(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 6)
    old, new = worker("old"), worker("new")
    rounds(old)
    old.client.release()
    assert len(new.round().held) == 6
    assert new.last.workers.keys() == {"new"}


def test_the_one_who_joins_takes_what_pays_and_nothing_moves_twice_within_a_minute(
    client: redis.Redis, worker: NewWorker
) -> None:
    want(client, 12)
    one, two = worker("one"), worker("two")
    rounds(one)
    rounds(one, two, count=1)
    moved = two.names
    assert len(moved) == 6
    two.cost = 0.5  # they have become dear, and `one` is empty in comparison
    two.round()
    rounds(two, one)
    assert two.names == moved, "they stay for a minute"
    for name, row in client.hgetall(keys.leases(GROUP)).items():
        fields = row.split()
        if len(fields) == 7:
            # As after a minute.
            client.hset(keys.leases(GROUP), name, b" ".join([*fields[:3], b"0", *fields[4:6], b"0"]))
    rounds(one, two)
    assert len(two.names) < 6


def test_spread_is_by_cost(client: redis.Redis, worker: NewWorker) -> None:
    client.hset(WANTED, mapping={":known": "1", "dear": "1 1.5", **{f"cheap-{n}": "1 0.1" for n in range(15)}})
    pair = [worker("a"), worker("b")]
    pair[0].cost = pair[1].cost = 0  # not measured: what is wanted says the cost
    rounds(*pair)
    loads = sorted(each.load for each in pair[0].round().workers.values())
    assert loads[1] - loads[0] < 0.2


def test_what_nobody_can_take_is_unassigned_with_a_reason(client: redis.Redis, worker: NewWorker) -> None:
    client.hset(WANTED, mapping={":known": "1", "large": "1 9", "a": "1 0.6", "b": "1 0.6"})
    only = worker("only", capacity=1.0)
    only.cost = 0
    found = only.round()
    assert len(found.held) == 1
    (waiting,) = {"a", "b"} - found.held.keys()
    assert {name: each.why for name, each in found.unassigned.items()} == {
        **{"large": NoWorker.LARGE, waiting: NoWorker.FULL}
    }
    assert "more than any worker has" in found.unassigned["large"].reason
    only.draining = True
    assert only.round().unassigned[waiting].why is NoWorker.DRAINING
    assert len(only.names) == 1, "it is never dropped"


def test_workers_keep_what_they_hold_when_redis_restarts_empty(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 6)
    pair = [worker("a"), worker("b")]
    rounds(*pair)
    before = [dict(each.last.held) for each in pair]
    client.flushall()
    rounds(*pair, count=1)
    want(client, 7)
    rounds(*pair)
    for each, held in zip(pair, before, strict=True):
        assert {name: each.last.held[name].epoch for name in held} == {
            name: claim.epoch for name, claim in held.items()
        }
    assert sum(len(each.names) for each in pair) == 7


def test_they_keep_it_no_longer_than_15_s_if_nobody_says_what_is_wanted(
    client: redis.Redis, valkey: EmbeddedValkey
) -> None:
    want(client, 1)
    now = 1000.0
    lease = LeaseClient(redis.Redis(port=valkey.port), GROUP, "w", LONG_S, lambda: now)
    claim = lease.renew({}, 4.0).held["item-0"]
    assert claim.until_monotonic == now + LONG_S
    client.flushall()
    for later in (1005.0, 1014.0):
        now = later
        assert lease.renew({"item-0": Holding(claim.epoch)}, 4.0).held.keys() == {"item-0"}
    now = 1016.0
    assert lease.renew({"item-0": Holding(claim.epoch)}, 4.0).held == {}
    lease.close()


def test_a_higher_epoch_wins_and_epochs_rise_whatever_redis_forgets(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 1)
    old, new = worker("old"), worker("new")
    rounds(old)
    (stale,) = old.last.held.values()
    future = stale.epoch + 10**14  # Redis' clock has been set back by three years
    assert new.client.renew({"item-0": Holding(future)}, 4.0).held["item-0"].epoch == future
    assert old.round().held == {}, "its epoch is lower"
    client.flushall()
    want(client, 1)
    new.client.release()
    client.delete(keys.leases(GROUP))
    assert new.client.renew({}, 4.0).held["item-0"].epoch > future


@pytest.mark.parametrize("made_up", [9 * 10**15, 9 * 10**15 - 1])
@pytest.mark.parametrize("field", ["item-0", ":epoch"])
def test_an_epoch_that_is_made_up_leaves_no_trace(
    client: redis.Redis, worker: NewWorker, made_up: int, field: str
) -> None:
    """The next ones passed the highest, and from then on all leases had the same epoch."""
    want(client, 2)
    one = worker("one")
    client.hset(keys.leases(GROUP), field, f"{made_up} two:ab 1 0 0 - 0" if field == "item-0" else str(made_up))
    wait_for(lambda: len(one.round().held) == 2, what="both items", every_s=0.1)
    epochs = {claim.epoch for claim in one.last.held.values()}
    assert len(epochs) == 2
    assert max(epochs) < 5 * 10**15
    again = one.client.renew({"item-0": Holding(one.last.held["item-0"].epoch, 0.1, fenced_by=made_up)}, 4.0)
    assert again.held["item-0"].epoch < 5 * 10**15


@pytest.mark.parametrize("told", [True, False])
def test_a_made_up_worker_keeps_an_item_for_one_lease_at_most(
    client: redis.Redis, worker: NewWorker, told: bool
) -> None:
    """A row that claimed a life of a minute kept it that long: its camera was out once the former worker had ended."""
    lease_s = 0.5
    want(client, 2)
    one = worker("one", lease_s=lease_s)
    before = one.round().held["item-0"].epoch
    (mine,) = (row for row in client.hkeys(keys.lease_workers(GROUP)) if row.startswith(b"one:"))
    now_us = int(client.time()[0]) * 10**6
    former, left = (mine.decode(), now_us) if told else ("-", 0)
    client.hset(keys.lease_workers(GROUP), "ghost:ab", f"{now_us} 1024 0 0 60000000 0 0")
    client.hset(keys.leases(GROUP), "item-0", f"{before + 1} ghost:ab 0.1 0 0 {former} {left}")
    began = time.monotonic()
    while "item-0" not in one.round().held:
        assert not told or "item-0" in one.last.leaving, "the former worker runs it meanwhile"
        assert time.monotonic() - began < 20, "it stays with a worker that does not exist"
        time.sleep(LOOK_S)
    assert one.last.held["item-0"].epoch > before + 1
    assert "ghost" not in one.last.workers


def test_who_is_fenced_and_still_has_the_lease_gets_a_higher_epoch(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 1)
    one = worker("one")
    claim = one.round().held["item-0"]
    fence = claim.epoch + 500_000_000_000
    again = one.client.renew({"item-0": Holding(claim.epoch, 0.1, fenced_by=fence)}, 4.0).held["item-0"]
    assert again.epoch > fence


def test_a_quarantine_stays_when_another_worker_takes_over(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 1)
    one, two = worker("one"), worker("two")
    one.round()
    one.client.quarantine("item-0", time.monotonic() + 3600)
    assert one.round().held["item-0"].quarantined_until > time.monotonic() + 3000
    one.client.release()
    assert two.round().held["item-0"].quarantined_until > time.monotonic() + 3000
    two.client.quarantine("item-0", 0.0)
    assert two.round().held["item-0"].quarantined_until == 0


@pytest.mark.parametrize("key", [keys.leases(GROUP), keys.lease_workers(GROUP)])
@pytest.mark.parametrize("garbage", ["string", "fields", "huge"])
def test_garbage_is_mended(client: redis.Redis, worker: NewWorker, key: str, garbage: str) -> None:
    want(client, 4)
    pair = [worker("a"), worker("b")]
    rounds(*pair)
    epochs = {name: claim.epoch for each in pair for name, claim in each.last.held.items()}
    if garbage == "string":
        client.set(key, "x")
    elif garbage == "fields":
        client.hset(
            key, mapping={"a b": "1", "item-0x": "x y", "x" * 300: "1 2 3", "item-9": "9" * 400, ":free": ": ("}
        )
    else:
        client.hset(key, "item-9", b"x" * 3_000_000)
    rounds(*pair)
    assert {name: claim.epoch for each in pair for name, claim in each.last.held.items()} == epochs
    if garbage == "huge":
        assert (client.memory_usage(key) or 0) < 10_000


def test_a_jump_of_the_clock_ends_no_lease(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 4)
    pair = [worker("a"), worker("b")]
    rounds(*pair)
    epochs = {name: claim.epoch for each in pair for name, claim in each.last.held.items()}
    for hours in (-1, 1):  # as if Redis' clock had been set back or forward since
        for name, row in client.hgetall(keys.lease_workers(GROUP)).items():
            first, *rest = row.split()
            client.hset(
                keys.lease_workers(GROUP), name, b" ".join([b"%d" % (int(first) + hours * 3600 * 10**6), *rest])
            )
        rounds(pair[0], pair[1])
        assert {name: claim.epoch for each in pair for name, claim in each.last.held.items()} == epochs


def test_what_is_no_longer_wanted_ends_and_a_change_shows(client: redis.Redis, worker: NewWorker) -> None:
    want(client, 2)
    one = worker("one")
    one.round()
    client.hdel(WANTED, "item-0")
    client.hset(WANTED, "item-1", "7 0.1")
    found = one.round().held
    assert {name: claim.revision for name, claim in found.items()} == {"item-1": 7}
    client.hdel(WANTED, "item-1")
    assert one.round().held == {}, "the last one too"


def test_a_failover_that_loses_the_newest_claims_mixes_no_epochs(worker: NewWorker) -> None:
    with EmbeddedValkey() as primary, EmbeddedValkey() as replica:
        one, two = redis.Redis(port=primary.port), redis.Redis(port=replica.port)
        want(one, 4)
        first = [LeaseClient(one, GROUP, name, LONG_S) for name in "ab"]
        held = [client.renew({}, 4.0).held for client in first]
        two.replicaof("127.0.0.1", str(primary.port))
        wait_for(lambda: two.info("replication").get("master_link_status") == "up", what="the replica")
        wait_for(lambda: two.hlen(keys.leases(GROUP)) == one.hlen(keys.leases(GROUP)), what="its copy")
        two.replicaof("NO", "ONE")  # what follows is lost
        first[0].renew({name: Holding(claim.epoch) for name, claim in held[0].items()}, 4.0, draining=True)
        newest = first[1].renew({name: Holding(claim.epoch) for name, claim in held[1].items()}, 4.0).held
        assert len(newest) == 4
        second = [LeaseClient(two, GROUP, name, LONG_S) for name in "ab"]
        for old, new in zip(first, second, strict=True):
            new._id = old._id
        lost = second[0].renew({name: Holding(claim.epoch) for name, claim in held[0].items()}, 4.0, draining=True)
        assert lost.held, "Redis has forgotten who has them"
        after = second[1].renew({name: Holding(claim.epoch) for name, claim in newest.items()}, 4.0).held
        assert {name: after[name].epoch for name in newest} == {name: claim.epoch for name, claim in newest.items()}
        assert second[0].renew({}, 4.0, draining=True).held == {}
        for client in (*first, *second):
            client.close()
        one.close()
        two.close()
