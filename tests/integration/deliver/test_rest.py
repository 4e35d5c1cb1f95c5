"""The sinks by REST: added, tested, changed, removed; dead letters looked at and sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support import outbox
from tests.support.delivery_worker import wait_placed, worker, write_sinks
from tests.support.gateway import RunningGateway
from tests.support.outbox import OutboxWriter
from tests.support.waiting import wait_for
from tests.support.webhook_server import WebhookServer


@pytest.fixture
def gateway(server: EmbeddedValkey, client: redis.Redis) -> Iterator[RunningGateway]:
    with RunningGateway(server.url) as running:
        yield running


def test_a_sink_by_rest_delivers_is_tested_and_goes(
    server: EmbeddedValkey, client: redis.Redis, gateway: RunningGateway, hook: WebhookServer, tmp_path: Path
) -> None:
    file = write_sinks(tmp_path / "sinks.yaml", {"name": "look", "kind": "log"})
    with worker(server.url, file, SINK_NETWORKS="127.0.0.0/8"):
        path = "/api/sinks/hook"
        given = {"kind": "webhook", "url": hook.url, "kinds": ["zone"]}
        answer = gateway.ask(path, "PUT", given)
        assert (answer.status, answer.json["origin"]) == (200, "rest")
        wait_placed(client, "hook", "look")
        tried = gateway.ask(f"{path}/test", "POST").json
        assert tried["delivered"], tried
        assert hook.got[0][0].startswith("test/")
        hook.got.clear()
        hook.answer = lambda received: (400 if received.documents[0]["id"].split("-")[2] == "1" else 200, {})
        made = OutboxWriter(client, streams=1).write(3)
        wait_for(lambda: len(hook.got) >= 2, 30, "two events")
        dead = wait_for(lambda: gateway.ask(f"{path}/dead").json["dead_letters"], 20, "a dead letter")
        assert (len(dead), dead[0]["event"]["id"]) == (1, made[1].id)
        assert "400" in dead[0]["reason"]
        hook.answer = lambda _: (200, {})
        assert gateway.ask(f"{path}/dead/resend", "POST", {"ids": [dead[0]["id"]]}).json["sent"] == 1
        assert hook.requests[-1].headers["ce-resent"] == "true"
        assert not outbox.missing(made, hook.got)

        def shown() -> dict[str, str]:
            return {
                each["spec"]["name"]: each["state"]["condition"] for each in gateway.ask("/api/sinks").json["sinks"]
            }

        wait_for(lambda: shown() == {"hook": "delivering", "look": "delivering"}, 20, "both deliver")
        assert gateway.ask("/api/sinks/look", "DELETE").status == 409
        assert gateway.ask(path, "DELETE").status == 204
        assert gateway.ask(path).status == 404
        # Redis loses everything: the worker writes back what it knows.
        assert gateway.ask(path, "PUT", given).status == 200
        wait_for(lambda: shown().get("hook") == "delivering", 20, "the sink again")
        client.flushall()
        wait_for(lambda: gateway.ask(path).status == 200, 30, "the sink after the loss")


def test_addresses_that_are_not_allowed_and_wrong_fields(
    server: EmbeddedValkey, client: redis.Redis, gateway: RunningGateway, hook: WebhookServer
) -> None:
    for given, said in (
        ({"kind": "webhook"}, "url: "),
        ({"kind": "webhook", "url": "http://u:p4ss@host/"}, "expected no login"),
        ({"kind": "kafka", "brokers": ["k:9092"]}, "must be in SINKS_FILE"),
        ({"kind": "webhook", "url": hook.url, "token": "other.token"}, "its name must begin with hook."),
    ):
        answer = gateway.ask("/api/sinks/hook", "PUT", given)
        assert answer.status == 400
        assert said in json.dumps(answer.json)
        assert "p4ss" not in json.dumps(answer.json)
    with worker(server.url):
        assert gateway.ask("/api/sinks/hook", "PUT", {"kind": "webhook", "url": hook.url}).status == 200
        wait_placed(client, "hook")
        tried = gateway.ask("/api/sinks/hook/test", "POST").json
        assert not tried["delivered"]
        assert "SINK_NETWORKS" in tried["message"]
    assert hook.requests == []
