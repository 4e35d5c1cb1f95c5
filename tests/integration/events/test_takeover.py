"""Event workers on a real Valkey: order, takeover of a killed and of a frozen worker, a Redis that starts empty."""

from __future__ import annotations

import signal
import time

import redis

from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.leases import LEASE_S
from elastic_inference.flows.events.partition_leases import PartitionLeases
from tests.support.event_workers import WorkerProcess, add, events_of, orders_of
from tests.support.waiting import wait_for

STREAMS = tuple(f"cam-{number}:people:inferred" for number in range(6))
PATIENCE_S = 60.0


def all_have(client: redis.Redis, orders: list[int]) -> None:
    for stream in STREAMS:
        wait_for(lambda stream=stream: len(orders_of(client, stream)) >= len(orders), PATIENCE_S, f"events of {stream}")
    for stream in STREAMS:
        assert orders_of(client, stream) == orders
        # A worker that had lost its state would count from one again; one that read twice would count too far.
        assert [each.rev for each in events_of(client, stream)] == list(range(1, len(orders) + 1))


def add_all(client: redis.Redis, *orders: int) -> None:
    for order in orders:
        for stream in STREAMS:
            add(client, stream, order)


def test_a_killed_worker_and_a_frozen_one_leave_no_event_out_and_none_twice(
    server: EmbeddedValkey, broker: redis.Redis
) -> None:
    with WorkerProcess(server.port) as first:
        wait_for(lambda: broker.exists(keys.EVENTS_ON), PATIENCE_S, "events:on")
        # Out of order, and with repeats, as two pods and a publish that was sent twice leave them.
        add_all(broker, 2, 1, 3, 3, 5, 4, 2)
        all_have(broker, [1, 2, 3, 4, 5])
        first.signal(signal.SIGKILL)
        first.process.wait()
    add_all(broker, 6, 8)
    with WorkerProcess(server.port) as second, WorkerProcess(server.port) as third:
        add_all(broker, 7)
        all_have(broker, [1, 2, 3, 4, 5, 6, 7, 8])
        # It still holds partitions when it is frozen. The other takes them; what this one does later is refused.
        second.signal(signal.SIGSTOP)
        add_all(broker, 9, 10)
        all_have(broker, [*range(1, 11)])
        epochs = [broker.hget(keys.event_cursor(each), "epoch") for each in range(16)]
        second.signal(signal.SIGCONT)
        add_all(broker, 11)
        all_have(broker, [*range(1, 12)])
        later = [broker.hget(keys.event_cursor(each), "epoch") for each in range(16)]
        assert all(int(old or 0) <= int(new or 0) for old, new in zip(epochs, later, strict=True))
        assert second.stop() == third.stop() == 0


def test_after_redis_has_started_empty_everything_resumes_with_the_state_in_memory(
    server: EmbeddedValkey, broker: redis.Redis
) -> None:
    with WorkerProcess(server.port) as first:
        for partition in range(16):
            broker.hset(keys.event_sinks(partition), "hook", "0-0")
        add_all(broker, 1, 2)
        all_have(broker, [1, 2])
        # No sink has confirmed these, so they count as lost.
        server.kill()
        # Longer than a lease, as the restart of a pod takes.
        time.sleep(LEASE_S + 1)
        server.start()
        wait_for(lambda: broker.exists(keys.EVENTS_ON), PATIENCE_S, "events:on")
        add_all(broker, 3)
        for stream in STREAMS:
            wait_for(lambda stream=stream: orders_of(broker, stream) == [3], PATIENCE_S, "the next event")
            assert [each.rev for each in events_of(broker, stream)] == [3]
        wait_for(
            lambda: first.metric("ei_events_lost_total") == 2 * len(STREAMS), PATIENCE_S, "what is lost is counted"
        )
        # The state of each stream is in Redis again: the next worker continues.
        assert first.stop() == 0
    with WorkerProcess(server.port):
        add_all(broker, 4)
        for stream in STREAMS:
            wait_for(lambda stream=stream: orders_of(broker, stream) == [3, 4], PATIENCE_S, "the next event")
            assert [each.rev for each in events_of(broker, stream)] == [3, 4]


def test_after_redis_has_lost_all_leases_each_worker_gets_those_back_that_it_held(server: EmbeddedValkey) -> None:
    two = [leases(server, name) for name in ("one", "two")]

    def look() -> None:
        for each in two:
            each.look(time.monotonic())

    def held() -> list[dict[int, int]]:
        return [each.claims(time.monotonic())[1] for each in two]

    def are_shared() -> bool:
        look()
        return [len(each) for each in held()] == [8, 8]

    try:
        wait_for(are_shared, PATIENCE_S, "eight partitions for each")
        before = held()
        server.kill()
        look()
        assert held() == before
        server.start()
        # The second is the first to find the new server. It must leave alone what the other one has in memory.
        two[1].look(time.monotonic())
        look()
        assert held() == before
        # Two seconds after its lease has ended, nobody reports for the other worker.
        two[0].close()
        time.sleep(LEASE_S)
        two[1].look(time.monotonic() + 1)
        assert len(held()[1]) == 16
    finally:
        for each in two:
            each.close()


def leases(server: EmbeddedValkey, worker: str) -> PartitionLeases:
    """The leases of a worker whose rounds the test calls."""
    client = redis.Redis(port=server.port, socket_timeout=PATIENCE_S)
    return PartitionLeases(client, worker, 16, lifecycle=Lifecycle("events"), explain=str)
