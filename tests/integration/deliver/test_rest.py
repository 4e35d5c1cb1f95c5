"""The sinks by REST: added, tested, changed, removed; dead letters looked at and sent again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support import outbox
from tests.support.delivery_worker import wait_placed, worker, write_sinks
from tests.support.gateway import RunningGateway
from tests.support.openapi import check
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


def test_dead_letters_are_deleted_and_counted(
    server: EmbeddedValkey, client: redis.Redis, gateway: RunningGateway, hook: WebhookServer
) -> None:
    with worker(server.url, SINK_NETWORKS="127.0.0.0/8") as running:
        path = "/api/sinks/hook"
        assert gateway.ask(path, "PUT", {"kind": "webhook", "url": hook.url}).status == 200
        wait_placed(client, "hook")
        hook.answer = lambda _: (400, {})
        OutboxWriter(client, streams=1).write(4)
        dead = wait_for(
            lambda: len(found := gateway.ask(f"{path}/dead").json["dead_letters"]) == 4 and found, 60, "four letters"
        )
        first, second, *others = [each["id"] for each in dead]
        query = f"?id={first}&id={second}"
        assert gateway.ask(f"{path}/dead{query}", "DELETE").json == {"removed": 2}
        assert gateway.ask(f"{path}/dead{query}", "DELETE").json == {"removed": 0}, "they are gone already"
        assert [each["id"] for each in gateway.ask(f"{path}/dead").json["dead_letters"]] == others
        for wrong in ("?id=x", "?id=1-1;", "?id=" + "&id=".join(["1-1"] * 101)):
            assert gateway.ask(f"{path}/dead{wrong}", "DELETE").status == 400
        assert gateway.ask("/api/sinks/none/dead", "DELETE").status == 404
        assert gateway.ask(f"{path}/dead").json["count"] == 2, "a wrong request deletes nothing"
        assert gateway.ask(f"{path}/dead", "DELETE").json == {"removed": 2}
        assert gateway.ask(f"{path}/dead").json == {"count": 0, "dead_letters": []}
        assert running.registry.get_sample_value("ei_sink_dead_removed_total") == 4


def test_nobody_overwrites_a_sink_that_somebody_else_has_changed(
    server: EmbeddedValkey, client: redis.Redis, gateway: RunningGateway, hook: WebhookServer
) -> None:
    path, given = "/api/sinks/hook", {"kind": "webhook", "url": hook.url}
    made = check(gateway.ask(path, "PUT", given), "/api/sinks/{name}", "put")
    etag = made.headers["ETag"]
    assert etag == f'"{made.json["revision"]}"'
    assert gateway.ask(path).headers["ETag"] == etag
    assert gateway.ask(path, "PUT", given, **{"If-Match": "*"}).headers["ETag"] == etag, "nothing has changed"
    changed = gateway.ask(path, "PUT", given | {"kinds": ["zone"]}, **{"If-Match": etag})
    assert (changed.status, changed.headers["ETag"] != etag) == (200, True)
    for wrong in (etag, "w/nonsense", '""', changed.headers["ETag"].strip('"')):
        refused = check(gateway.ask(path, "PUT", given, **{"If-Match": wrong}), "/api/sinks/{name}", "put")
        assert (refused.status, refused.code) == (412, "precondition_failed")
        assert gateway.ask(path, "DELETE", **{"If-Match": wrong}).status == 412
    assert gateway.ask(path).json["spec"]["kinds"] == ["zone"]
    assert gateway.ask("/api/sinks/new", "PUT", given, **{"If-Match": etag}).status == 412, "there is none to replace"
    assert gateway.ask(path, "DELETE", **{"If-Match": changed.headers["ETag"]}).status == 204
    assert gateway.ask(path).status == 404
    assert client.hget(keys.SINK_SPECS, "hook") is None


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
