"""What `ei-status` says of the event service and its sinks: a real one, a real gateway, and a sink that refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
import redis.asyncio as aioredis
from redis.exceptions import NoPermissionError

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.adapters.event_store import EventStore
from elastic_inference.adapters.event_store.condition import EventCondition, read_condition
from elastic_inference.adapters.leases import LeaseClient
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.events.event import event_json
from tests.support.delivery_worker import write_sinks
from tests.support.gateway import RunningGateway
from tests.support.outbox import an_event
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for
from tests.support.webhook_server import WebhookServer

NAME = "gate"


def events_row(server: EmbeddedValkey, gateway: RunningGateway) -> str:
    """State and text of the link."""
    command = [sys.executable, "-m", "elastic_inference.commands.status.main", "--json"]
    command += ["-q", "127.0.0.1", "-p", str(server.port), "-g", f"http://{gateway.host}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    (row,) = (each for each in json.loads(done.stdout)["findings"] if each["link"] == "events")
    return f"{row['state']} {row['text']}"


def test_the_event_service_and_a_sink_that_refuses_the_login(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with (
        RunningGateway(valkey.url) as gateway,
        WebhookServer() as hook,
        redis.Redis(port=valkey.port) as client,
    ):
        assert events_row(valkey, gateway) == "? no event service runs, so there are no events"
        hook.answer = lambda _: (401, {})
        file = write_sinks(tmp_path / "sinks.yaml", {"name": "hook", "kind": "webhook", "url": hook.url})
        environ = {"QUEUE_URL": valkey.url, "BROKER_URL": valkey.url, "SINKS_FILE": str(file)}
        service = ServiceProcess("events", environ, tmp_path, "events").start()
        try:
            service.wait_ready()
            wait_for(lambda: client.hexists(keys.event_sinks(0), "hook"), 40, "the sink's place")
            assert events_row(valkey, gateway) == "ok 16 partitions, event workers: 1"
            client.xadd(keys.events(0), {"json": event_json(an_event(1))})
            wait_for(lambda: hook.requests, 40, "an attempt")
            wait_for(lambda: b"paused" in (client.hget(keys.SINK_STATES, "hook") or b""), 20, "the pause")
            row = events_row(valkey, gateway)
            assert row.startswith("BROKEN sinks that do not get their events: hook is paused (")
            assert "401" in row
        finally:
            service.kill()
        # Until its leases end it counts as alive.
        wait_for(lambda: events_row(valkey, gateway) == "BROKEN the event service no longer runs", 60, "its end")


async def test_partitions_without_a_worker_and_the_lag(client: redis.Redis, valkey: EmbeddedValkey) -> None:
    number = keys.partition_of(NAME, 4)
    async with aioredis.Redis(port=valkey.port) as reader:
        assert await read_condition(reader, {}) is None
        store, leases = EventStore(client, 100, 60.0), LeaseClient(client, "events", "worker-1")
        store.announce(4)
        store.want("events", ["0", "1", "2"])
        leases.renew({}, 1024.0)
        now_s = time.time()
        assert await read_condition(reader, {NAME: now_s}) == EventCondition(4, 1, 1, 0.0)
        client.hset(keys.event_cursor(number), "read", f"{int(now_s * 1000) - 20_000}-0")
        found = await read_condition(reader, {NAME: now_s, "later": 0.0})
        assert found is not None
        assert 19.9 < found.lag_s < 20.1
        leases.release()
        leases.close()
        store.close()
        assert await read_condition(reader, {}) == EventCondition(4, 0, 4, 0.0)


async def test_the_gateways_login_sees_it_and_with_older_users_the_lag_alone(tmp_path: Path) -> None:
    text = render_acl(dict.fromkeys(USERS, "secret"))
    older = text.replace(" %R~{events}:leases %R~{events}:workers", "")
    assert older != text
    for users, workers in ((text, 0), (older, None)):
        file = tmp_path / "users.acl"
        file.write_text(users)
        with EmbeddedValkey(options=("--aclfile", str(file))) as server:
            with redis.Redis(port=server.port, username="events", password="secret") as client:
                client.set(keys.EVENTS_ON, 4)
            async with aioredis.Redis(port=server.port, username="gateway", password="secret") as reader:
                found = await read_condition(reader, {NAME: 1.0})
                assert found is not None
                assert (found.partitions, found.workers) == (4, workers)
            async with aioredis.Redis(port=server.port, username="viewer", password="secret") as reader:
                with pytest.raises(NoPermissionError):
                    await read_condition(reader, {})
