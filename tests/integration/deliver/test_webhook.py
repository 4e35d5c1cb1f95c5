"""Delivery to a webhook: what arrives, and what happens when it refuses, is slow or away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support import outbox
from tests.support.delivery_worker import wait_placed, worker, write_sinks
from tests.support.outbox import OutboxWriter
from tests.support.waiting import wait_for
from tests.support.webhook_server import Received, WebhookServer


def test_events_arrive_as_cloud_events_from_the_moment_a_sink_is_new(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("a key for signing\n")
    file = write_sinks(tmp_path / "sinks.yaml", {"name": "hook", "kind": "webhook", "url": hook.url, "sign": "key"})
    writer = OutboxWriter(client)
    before = writer.write(5)
    with worker(server.url, file, SINK_SECRETS_DIR=str(tmp_path)) as running:
        wait_placed(client, "hook")
        made = writer.write(20)
        wait_for(lambda: len(hook.got) >= 20, 30, "20 events")
        # The server has the last one before the sink has its answer.
        wait_for(lambda: running.metric("ei_sink_delivered_total", "hook") == 20, 30, "all are counted")
        wait_for(lambda: running.metric("ei_sink_lag_seconds", "hook") == 0, 10, "no lag")
    outbox.check(made, hook.got, repeats=0)
    assert outbox.missing(before, hook.got) == [(event.id, 1) for event in before]
    headers = hook.requests[0].headers
    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-type"] == "elastic-inference.zone.begin"
    assert headers["webhook-signature"].startswith("v1,")
    assert headers["ce-id"].endswith("/1")


def test_what_is_refused_for_good_is_a_dead_letter_and_holds_up_nobody(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer, tmp_path: Path
) -> None:
    file = write_sinks(tmp_path / "sinks.yaml", {"name": "hook", "kind": "webhook", "url": hook.url, "batch": 10})

    def answer(received: Received) -> tuple[int, dict[str, str]]:
        bad = any(int(each["id"].split("-")[2]) % 7 == 3 for each in received.documents)
        return (413, {}) if bad else (200, {})

    hook.answer = answer
    writer = OutboxWriter(client, streams=1)
    with worker(server.url, file) as running:
        wait_placed(client, "hook")
        made = writer.write(21)
        wait_for(lambda: len(hook.got) >= 18, 30, "all but three")
        assert running.metric("ei_sink_dead_total", "hook") == 3
    good = [event for event in made if int(event.id.split("-")[2]) % 7 != 3]
    outbox.check(good, hook.got, repeats=0)
    dead: Any = client.xrange(keys.dead_letters("hook"))
    assert [outbox.mark(fields[b"json"])[0].split("-")[2] for _, fields in dead] == ["3", "10", "17"]
    assert b"413" in dead[0][1][b"reason"]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer, tmp_path: Path, status: int
) -> None:
    file = write_sinks(tmp_path / "sinks.yaml", {"name": "hook", "kind": "webhook", "url": hook.url})
    answers = [(status, {"retry-after": "2"})]
    hook.answer = lambda _: answers.pop() if answers else (200, {})
    writer = OutboxWriter(client)
    with worker(server.url, file):
        wait_placed(client, "hook")
        made = writer.write(3)
        wait_for(lambda: len(hook.got) >= 3, 30, "three events")
    assert hook.requests[1].at - hook.requests[0].at >= 2
    outbox.check(made, hook.got, repeats=0)


def test_a_refused_login_pauses_the_sink_with_a_word_and_no_other_one(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer, tmp_path: Path
) -> None:
    with WebhookServer() as other:
        refused = {"name": "refused", "kind": "webhook", "url": hook.url}
        fine = {"name": "fine", "kind": "webhook", "url": other.url}
        file = write_sinks(tmp_path / "sinks.yaml", refused, fine)
        hook.answer = lambda _: (401, {})
        writer = OutboxWriter(client)
        with worker(server.url, file) as running:
            wait_placed(client, "refused", "fine")
            made = writer.write(10)
            wait_for(lambda: len(other.got) >= 10, 30, "the other sink")
            said = wait_for(lambda: running.lifecycle.degraded().get("sink refused"), 20, "a word")
            assert "answered 401 Unauthorized" in str(said)
            assert len(hook.requests) == 1
            wait_for(lambda: (running.metric("ei_sink_lag_seconds", "refused") or 0) > 0, 10, "its lag")
            # A changed configuration ends the pause.
            hook.answer = lambda _: (200, {})
            write_sinks(file, refused | {"timeout_s": 5}, fine)
            wait_for(lambda: len(hook.got) >= 10, 30, "the rest")
        outbox.check(made, hook.got, repeats=0)


def test_nothing_is_lost_while_it_is_away_fails_and_is_slow(
    server: EmbeddedValkey, client: redis.Redis, hook: WebhookServer, tmp_path: Path
) -> None:
    sink = {"name": "hook", "kind": "webhook", "url": hook.url, "batch": 20, "timeout_s": 0.5}
    file = write_sinks(tmp_path / "sinks.yaml", sink)
    writer = OutboxWriter(client)
    with worker(server.url, file):
        wait_placed(client, "hook")
        writer.write(20)
        hook.stop()
        writer.write(50)
        time.sleep(0.5)
        hook.start()
        hook.answer = lambda _: (500, {})
        writer.write(20)
        time.sleep(0.5)

        def slow(_: Received) -> tuple[int, dict[str, str]]:
            time.sleep(1.5)
            hook.answer = lambda _: (200, {})
            return 200, {}

        hook.answer = slow
        writer.write(20)
        wait_for(lambda: not outbox.missing(writer.sent, hook.got), 60, "every event")
    # Only the batch that was answered too late came twice.
    outbox.check(writer.sent, hook.got, repeats=20)


def test_filters_and_a_redis_that_restarts_empty(tmp_path: Path, hook: WebhookServer) -> None:
    sink = {"name": "hook", "kind": "webhook", "url": hook.url, "cameras": ["cam-1"], "labels": ["person"]}
    file = write_sinks(tmp_path / "sinks.yaml", sink)
    with EmbeddedValkey() as own, redis.Redis(port=own.port) as client, worker(own.url, file):
        wait_placed(client, "hook")
        writer = OutboxWriter(client)
        made = writer.write(30)
        wait_for(lambda: len(hook.got) >= 10, 30, "ten events")
        client.flushall()
        made += writer.write(30)
        mine = [event for event in made if event.camera == "cam-1"]
        wait_for(lambda: not outbox.missing(mine, hook.got), 60, "ten more, which the restarted Redis holds")
    # The request in which the loss was noticed may come again.
    outbox.check(mine, hook.got, repeats=1)
    assert len(set(hook.got)) == 20
