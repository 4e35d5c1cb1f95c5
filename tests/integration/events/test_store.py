"""What the event worker's scripts write, and what pods write for it, on a real Valkey."""

from __future__ import annotations

import pytest
import redis

from elastic_inference.adapters.event_store import Batch, EventStore, FencedError
from elastic_inference.adapters.event_store.entries import START
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.domain import keys
from elastic_inference.domain.sequence import Tombstone
from tests.support.event_workers import add, example_event
from tests.support.results import make_result
from tests.support.waiting import wait_for

STREAM = "gate-1:people:inferred"
PARTITION = keys.partition_of("gate-1", 16)
RESULTS = keys.partition_results(PARTITION)
EVENT = example_event()


def batch(number: int, count: int = 0, spare: bool = False) -> Batch:
    return Batch(number, (number, 0), (number, 0), {STREAM: b"%d" % number}, (), [(EVENT, spare)] * count)


def test_a_batch_that_is_sent_again_is_written_once(client: redis.Redis) -> None:
    store = EventStore(client, 100, 60.0)
    assert store.take(PARTITION, 7).fresh
    for _ in range(3):
        assert store.commit(PARTITION, 7, batch(1, 2)).length == 2
    assert store.commit(PARTITION, 7, batch(2, 1)).before == 1
    assert client.xlen(keys.events(PARTITION)) == 3


def test_an_older_lease_writes_nothing(client: redis.Redis) -> None:
    store = EventStore(client, 100, 60.0)
    store.take(PARTITION, 7)
    store.commit(PARTITION, 7, batch(1, 1))
    taken = store.take(PARTITION, 9)
    assert (taken.results, taken.batch, taken.states) == ((1, 0), 1, {STREAM: b"1"})
    before = {key: client.dump(key) for key in client.scan_iter()}
    with pytest.raises(FencedError):
        store.commit(PARTITION, 7, batch(2, 1))
    with pytest.raises(FencedError):
        store.take(PARTITION, 8)
    assert {key: client.dump(key) for key in client.scan_iter()} == before


def test_a_sink_that_lags_costs_updates_first_and_what_is_lost_is_counted(client: redis.Redis) -> None:
    store = EventStore(client, 10, 3600.0)
    store.take(PARTITION, 7)
    client.hset(keys.event_sinks(PARTITION), "hook", "0-0")
    assert store.commit(PARTITION, 7, batch(1, 8)).lost == 0
    done = store.commit(PARTITION, 7, batch(2, 3, spare=True))
    assert (done.left_out, done.lost, done.length) == (3, 0, 8)
    done = store.commit(PARTITION, 7, batch(3, 4))
    assert (done.left_out, done.lost, done.length) == (0, 2, 10)
    # Its answer was lost, and it is sent again: the figures are those of the first time.
    assert store.commit(PARTITION, 7, batch(3, 4)).lost == 2
    newest = client.xrevrange(keys.events(PARTITION), count=1)[0][0]
    client.hset(keys.event_sinks(PARTITION), "hook", newest)
    done = store.commit(PARTITION, 7, batch(4, 2, spare=True))
    assert (done.left_out, done.lost, done.length) == (0, 0, 10)


def test_a_state_that_is_too_large_to_be_ours_is_removed(client: redis.Redis) -> None:
    client.hset(keys.event_states(PARTITION), mapping={f"x{number}": "y" for number in range(3000)})
    assert EventStore(client, 10, 60.0).take(PARTITION, 1).state_lost
    client.set(keys.event_cursor(PARTITION), "another program's")
    assert EventStore(client, 10, 60.0).take(PARTITION, 1).fresh


def test_entries_of_strangers_are_read_as_such(client: redis.Redis) -> None:
    add(client, STREAM, 1)
    for fields in ({"json": "{"}, {"gone": "[]"}, {"a": "b", "c": "d"}, {"gone": '{"stream":"x","order":1}'}):
        client.xadd(RESULTS, fields)
    found = EventStore(client, 10, 60.0).read({PARTITION: (0, 0)}, 10, 1)[PARTITION]
    assert [each.item is None for each in found] == [False, True, True, True, True]


def test_pods_write_for_the_event_service_only_while_it_runs(client: redis.Redis) -> None:
    clock = [1000.0]
    output = ResultPublisher(client, "people", "pod-1", 0, monotonic=lambda: clock[0])

    def publish(order: int) -> None:
        clock[0] += 1.1
        result = make_result(stream=STREAM, order=order, seq=order)
        output.publish([(result, b"jpeg")], [Tombstone(STREAM, order + 1, "stale")])

    publish(1)
    publish(3)
    assert not client.exists(RESULTS)
    client.set(keys.EVENTS_ON, 16)
    publish(5)  # it learns of it
    publish(7)
    assert [sorted(fields) for _, fields in client.xrange(RESULTS)] == [[b"gone"], [b"json"]]
    assert 0 < client.pttl(RESULTS) <= 120_000
    client.set(keys.EVENTS_ON, 100_000)  # no number that can be ours
    publish(9)
    publish(11)
    client.delete(keys.EVENTS_ON)
    publish(13)
    assert client.xlen(RESULTS) == 4


def test_a_foreign_key_in_a_partitions_place_does_not_keep_the_others_from_being_read(client: redis.Redis) -> None:
    other = (PARTITION + 1) % 16
    client.set(keys.partition_results(other), "foreign")
    add(client, STREAM, 1)
    store = EventStore(client, 100, 60.0)
    cursors = {PARTITION: START, other: START}
    assert list(store.newest([PARTITION, other])) == [PARTITION]
    found = wait_for(lambda: store.read(cursors, 10, 50), 10, "the results of the other partition")
    assert list(found) == [PARTITION]
    assert store.read({other: START}, 10, 50) == {}
    # As a pod does when it adds a result there.
    client.unlink(keys.partition_results(other))
    client.xadd(keys.partition_results(other), {"json": "{}"})
    wait_for(lambda: other in store.read(cursors, 10, 50), 10, "the partition's results")
