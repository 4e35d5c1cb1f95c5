"""A worker whose sink another one has claimed under a newer lease: it may finish what is in flight, and no more."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.leases import Holding, LeaseClient
from elastic_inference.adapters.outbox.sink_outbox import FIRST, OtherHolderError, SinkOutbox
from elastic_inference.adapters.outbox.sink_records import SinkRecords
from elastic_inference.adapters.sinks import SinkAccess, open_sink
from elastic_inference.base.metrics import DeliveryMetrics
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.sink_spec import read_sink
from elastic_inference.flows.deliver.account import SinkAccount
from elastic_inference.flows.deliver.runner import HANDOVER_S, SinkRunner
from tests.support import outbox
from tests.support.delivery_worker import wait_placed
from tests.support.outbox import PARTITIONS, OutboxWriter
from tests.support.waiting import wait_for
from tests.support.webhook_server import Received, WebhookServer


def test_the_newer_lease_alone_acknowledges(client: redis.Redis) -> None:
    older, newer = (SinkOutbox(client, "hook", PARTITIONS, lambda epoch=epoch: epoch) for epoch in (5, 7))
    assert older.cursors(False, {}) == dict.fromkeys(range(PARTITIONS), FIRST)
    assert older.acknowledge({0: "5-0", 1: "6-0"}, 0.0)
    assert newer.cursors(False, {})[1] == "6-0"
    with pytest.raises(OtherHolderError):
        older.acknowledge({0: "9-0"}, 0.0)
    with pytest.raises(OtherHolderError):
        older.check_holder()
    with pytest.raises(OtherHolderError):
        older.cursors(True, {})
    assert newer.acknowledge({0: "8-0"}, 0.0)
    assert client.hget(keys.event_sinks(0), "hook") == b"8-0"


def test_a_worker_that_still_believes_to_have_the_sink_repeats_one_batch_at_most(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer
) -> None:
    writer = OutboxWriter(client)
    with runner(server, hook, Lease(1)) as first:
        wait_placed(client, "hook")
        writer.write(10)
        wait_for(lambda: len(hook.got) >= 10, 60, "ten events")
        with runner(server, hook, Lease(2)):
            wait_for(lambda: client.hget(keys.event_holders(PARTITIONS - 1), "hook") == b"2", 60, "the newer lease")
            writer.write(200)
            wait_for(lambda: not outbox.missing(writer.sent, hook.got), 120, "all events")
        assert first.alive
    # Each had one request in flight.
    outbox.check(writer.sent, hook.got, repeats=1)


def test_a_worker_that_gets_its_sink_back_goes_on_where_the_other_one_ended(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer
) -> None:
    writer, lease = OutboxWriter(client), Lease(1)
    with runner(server, hook, lease) as first:
        wait_placed(client, "hook")
        writer.write(10)
        wait_for(lambda: not outbox.missing(writer.sent, hook.got), 60, "ten events")
        lease.held = False
        with runner(server, hook, Lease(2)):
            wait_for(lambda: client.hget(keys.event_holders(PARTITIONS - 1), "hook") == b"2", 60, "the newer lease")
            writer.write(200)
            wait_for(lambda: not outbox.missing(writer.sent, hook.got), 120, "all events")
        # As after a freeze: lost and claimed again within one round.
        lease.epoch, lease.held = 3, True
        writer.write(10)
        wait_for(lambda: not outbox.missing(writer.sent, hook.got), 60, "the last events")
        assert first.alive
    outbox.check(writer.sent, hook.got, repeats=0)


def test_a_sink_that_is_handed_over_repeats_nothing(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer
) -> None:
    def slowly(_: Received) -> tuple[int, dict[str, str]]:
        time.sleep(0.3)
        return 204, {}

    writer = OutboxWriter(client)
    with runner(server, hook, Lease(1)) as first:
        wait_placed(client, "hook")
        hook.answer = slowly
        writer.write(200)
        wait_for(lambda: len(hook.requests) >= 2, 60, "two requests")
        with runner(server, hook, Lease(2), handed_over=True):
            time.sleep(0.2)  # it could begin now, while a request of the first one is on its way
            first.stop()
            wait_for(lambda: client.hget(keys.event_holders(PARTITIONS - 1), "hook") == b"2", 60, "the newer lease")
            hook.answer = lambda _: (204, {})
            wait_for(lambda: not outbox.missing(writer.sent, hook.got), 120, "all events")
    outbox.check(writer.sent, hook.got, repeats=0)


def test_a_former_worker_that_does_not_answer_is_not_waited_for_forever(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer
) -> None:
    frozen = SinkOutbox(client, "hook", PARTITIONS, lambda: 5)
    frozen.cursors(False, {})
    writer = OutboxWriter(client)
    writer.write(5)
    began = time.monotonic()
    with runner(server, hook, Lease(7), handed_over=True):
        wait_for(lambda: not outbox.missing(writer.sent, hook.got), 60, "all events")
    assert time.monotonic() - began >= HANDOVER_S


def test_a_sink_is_handed_over_while_its_former_worker_lives(client: redis.Redis) -> None:
    records = SinkRecords(client)
    records.want({"hook"})
    old, new = (LeaseClient(client, keys.SINK_GROUP, name) for name in ("old", "new"))
    held = {name: Holding(claim.epoch, 0.01) for name, claim in old.renew({}, 1.0).held.items()}
    assert not records.is_handed_over("hook"), "it had no worker before"
    assert not old.renew(held, 1.0, draining=True).leaving
    assert "hook" in new.renew({}, 1.0).held
    assert records.is_handed_over("hook")
    old.release()
    new.renew({}, 1.0)
    assert not records.is_handed_over("hook")
    assert not records.is_handed_over("unknown")


class Lease:
    """What a worker believes of its lease."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.held = True


@contextlib.contextmanager
def runner(
    server: EmbeddedValkey, hook: WebhookServer, lease: Lease, *, handed_over: bool = False
) -> Iterator[SinkRunner]:
    """A sink's thread that believes in its lease."""
    spec = read_sink({"name": "hook", "kind": "webhook", "url": hook.url})
    made = SinkRunner(
        spec,
        connect=lambda: redis.Redis(port=server.port, protocol=2),
        open_sink=lambda: open_sink(spec, SinkAccess(None, None), ""),
        partitions=PARTITIONS,
        known=False,
        held=lambda: lease.held,
        epoch=lambda: lease.epoch,
        account=SinkAccount("hook", DeliveryMetrics(CollectorRegistry()), f"worker-{lease.epoch}"),
        explain=str,
        handed_over=lambda _: handed_over,
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()
        made.join(30)
