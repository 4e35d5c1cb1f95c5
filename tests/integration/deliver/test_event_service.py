"""From results to sinks: the event service as a process, under its own user of Redis, delivers what it makes."""

from __future__ import annotations

from pathlib import Path

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.delivery_worker import wait_placed, write_sinks
from tests.support.event_workers import WorkerProcess, add
from tests.support.mosquitto import Mosquitto, Subscriber
from tests.support.redis_logins import PASSWORDS, server_with_users
from tests.support.waiting import wait_for
from tests.support.webhook_server import WebhookServer

PARTITIONS = 4


def test_results_arrive_as_events_at_a_webhook_and_at_mqtt(tmp_path: Path, hook: WebhookServer) -> None:
    with (
        server_with_users(tmp_path / "users.acl") as server,
        Mosquitto(tmp_path) as broker,
        Subscriber(broker.port) as subscriber,
    ):
        file = write_sinks(
            tmp_path / "sinks.yaml",
            {"name": "hook", "kind": "webhook", "url": hook.url, "batch": 10},
            {"name": "home", "kind": "mqtt", "url": broker.url},
        )
        with admin(server) as client, running(server, file):
            wait_placed(client, "hook", "home")
            for order in range(1, 11):
                add(client, "cam-1:people:inferred", order, partitions=PARTITIONS)
            expected = [(f"cam-1:people:inferred/0-{order}-object-0", order) for order in range(1, 11)]
            wait_for(lambda: len(hook.got) >= 10, 60, "ten events at the webhook")
            wait_for(lambda: len(subscriber.got) >= 10, 60, "ten events at the broker")
        assert hook.got == expected
        assert subscriber.got == expected


def running(server: EmbeddedValkey, file: Path) -> WorkerProcess:
    login = {"QUEUE_USERNAME": "events", "QUEUE_PASSWORD": PASSWORDS["events"]}
    return WorkerProcess(server.port, RESULT_PARTITIONS=str(PARTITIONS), SINKS_FILE=str(file), **login)


def admin(server: EmbeddedValkey) -> redis.Redis:
    return redis.Redis(port=server.port, username="admin", password=PASSWORDS["admin"])
