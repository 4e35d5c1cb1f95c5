"""Delivery to a stream of another Redis and to the log; and several workers, of which one is killed or frozen."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support import outbox
from tests.support.delivery_worker import process, wait_placed, worker, write_sinks
from tests.support.outbox import OutboxWriter
from tests.support.waiting import wait_for
from tests.support.webhook_server import WebhookServer


def entries(client: redis.Redis) -> list[outbox.Mark]:
    rows: Any = client.xrange("events")
    return [outbox.mark(fields[b"json"]) for _, fields in rows]


def test_a_stream_of_another_redis_that_is_stopped_and_frozen(
    server: EmbeddedValkey,
    client: redis.Redis,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with EmbeddedValkey() as other, redis.Redis(port=other.port) as far:
        file = write_sinks(
            tmp_path / "sinks.yaml",
            {"name": "far", "kind": "redis", "url": other.url},
            {"name": "log", "kind": "log", "kinds": ["zone"]},
        )
        with caplog.at_level("INFO"), worker(server.url, file):
            wait_placed(client, "far", "log")
            writer = OutboxWriter(client)
            writer.write(30)
            wait_for(lambda: len(entries(far)) >= 30, 30, "30 entries")
            other.stop()
            later = writer.write(30)
            other.start()
            # It has restarted empty: what came before is not sent again.
            wait_for(lambda: not outbox.missing(later, entries(far)), 60, "30 more")
            outbox.check(later, entries(far), repeats=100)
            wait_for(lambda: sum("sink log: {" in line for line in caplog.messages) == 60, 30, "60 lines")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_another_worker_takes_over_from_one_that_is_killed_or_frozen(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer, tmp_path: Path, number: signal.Signals
) -> None:
    file = write_sinks(tmp_path / "sinks.yaml", {"name": "hook", "kind": "webhook", "url": hook.url})
    writer = OutboxWriter(client)
    with process(server.url, file) as first:
        wait_placed(client, "hook")
        writer.write(50)
        wait_for(lambda: len(hook.got) >= 20, 60, "some events")
        with process(server.url, file):
            first.send_signal(number)
            writer.write(50)
            wait_for(lambda: not outbox.missing(writer.sent, hook.got), 60, "all events")
            first.send_signal(signal.SIGCONT)
            writer.write(20)
            wait_for(lambda: not outbox.missing(writer.sent, hook.got), 60, "all events after it woke")
    # One request was in flight.
    outbox.check(writer.sent, hook.got, repeats=1)
