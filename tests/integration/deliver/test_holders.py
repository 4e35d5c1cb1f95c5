"""A worker whose sink another one has got, with a newer lease: it may end what is in flight, and no more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.outbox.sink_outbox import FIRST, OtherHolderError, SinkOutbox
from elastic_inference.adapters.sinks import SinkAccess, open_sink
from elastic_inference.base.metrics import DeliveryMetrics
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.sink_spec import read_sink
from elastic_inference.flows.deliver.account import SinkAccount
from elastic_inference.flows.deliver.runner import SinkRunner
from tests.support import outbox
from tests.support.delivery_worker import wait_placed
from tests.support.outbox import PARTITIONS, OutboxWriter
from tests.support.waiting import wait_for
from tests.support.webhook_server import WebhookServer


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


class Lease:
    """What a worker believes of its lease."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.held = True


@contextlib.contextmanager
def runner(server: EmbeddedValkey, hook: WebhookServer, lease: Lease) -> Iterator[SinkRunner]:
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
    )
    made.start()
    try:
        yield made
    finally:
        made.stop()
        made.join(30)
