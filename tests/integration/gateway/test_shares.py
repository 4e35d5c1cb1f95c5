"""What one login may use at once: a viewer that takes all it can leaves an admin what it needs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from websockets.exceptions import InvalidStatus

from elastic_inference.adapters.event_store.event_log import EventLog, Found
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.gateway import events as gateway_events
from elastic_inference.flows.gateway import server
from elastic_inference.flows.relay import snapshots
from tests.support.gateway import Answer, Pool, RunningGateway
from tests.support.openapi import check
from tests.support.viewer import connect_patiently as connect
from tests.support.waiting import wait_for
from tests.support.websocket_server import Relay

ADMIN, WALL = "the-token-of-the-service", "the-token-of-the-wall"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.json"
    wall = {"name": "wall", "role": "viewer", "token": WALL, "cameras": ["gate-*"]}
    path.write_text(json.dumps({"tokens": [wall]}))
    return path


@pytest.fixture
def gateway(valkey: EmbeddedValkey, file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningGateway]:
    monkeypatch.setattr(gateway_events, "MAX_CLIENTS", 4)
    monkeypatch.setattr(server, "TUNNELS_OVER_VIEWERS", 0)
    with Relay(queue_url=valkey.url) as relay:
        settings = {"GATEWAY_TOKENS_FILE": str(file), "WEBSOCKET_SERVER_URL": f"ws://127.0.0.1:{relay.port}"}
        with RunningGateway(valkey.url, GATEWAY_TOKEN=ADMIN, MAX_VIEWERS="4", **settings) as running:
            yield running


def ask(gateway: RunningGateway, path: str, token: str = ADMIN) -> Answer:
    return gateway.ask(path, Authorization=f"Bearer {token}")


def test_event_streams_of_a_viewer_leave_half(gateway: RunningGateway) -> None:
    with ExitStack() as opened:
        for token in (WALL, WALL, ADMIN):
            next(opened.enter_context(gateway.events(Authorization=f"Bearer {token}")))
        assert check(ask(gateway, "/api/events", WALL), "/api/events").status == 429
        next(opened.enter_context(gateway.events(Authorization=f"Bearer {ADMIN}")))
        assert ask(gateway, "/api/events").status == 429
    # The places come back.
    wait_for(lambda: gateway.metric("ei_gateway_event_clients") == 0, what="the end of the streams")
    with gateway.events(Authorization=f"Bearer {WALL}") as events:
        next(events)


def test_websockets_of_a_viewer_leave_half(gateway: RunningGateway, client: redis.Redis) -> None:
    pool = Pool(client)
    pool.publish()
    url = f"ws://{gateway.host}/{pool.stream_id}?format=json"

    def open_as(token: str) -> int:
        try:
            opened.enter_context(connect(url, additional_headers={"Authorization": f"Bearer {token}"}))
        except InvalidStatus as error:
            return error.response.status_code
        return 101

    with ExitStack() as opened:
        assert [open_as(WALL) for _ in range(3)] == [101, 101, 429]
        assert [open_as(ADMIN) for _ in range(3)] == [101, 101, 429]


def test_snapshots_that_a_viewer_waits_for_leave_others_theirs(
    gateway: RunningGateway, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stream that is pushed but not inferred has no frame to draw: each such request lasts that long.
    monkeypatch.setattr(snapshots, "WAIT_S", 0.7)
    monkeypatch.setattr(snapshots, "FRESH_S", 0.0)
    seen = Pool(client, "yard-1")
    silent = [Pool(client, f"gate-{number}") for number in range(snapshots.MAX_AT_ONCE + 4)]
    for pool in silent:
        pool.push()
    path = "/api/streams/{}/snapshot.jpg"
    with seen.publishing(20):
        wait_for(lambda: ask(gateway, path.format(seen.stream_id)).status == 200, what="the first snapshot")
        wait_for(lambda: len(ask(gateway, "/api/streams", WALL).json["streams"]) == len(silent), what="the streams")
        enough = threading.Event()

        def flood(stream_id: str) -> None:
            while not enough.is_set():
                ask(gateway, path.format(stream_id), WALL)

        floods = [threading.Thread(target=flood, args=(pool.stream_id,)) for pool in silent]
        for each in floods:
            each.start()
        statuses = [ask(gateway, path.format(seen.stream_id)).status for _ in range(20)]
        enough.set()
        for each in floods:
            each.join()
        assert statuses == [200] * 20


def test_searches_of_a_viewer_leave_others_theirs(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    waiting = []

    async def page(*_args: object) -> Found:
        waiting.append(1)
        while not release.is_set():
            await asyncio.sleep(0.02)
        return Found((), None)

    monkeypatch.setattr(EventLog, "page", page)
    floods = [threading.Thread(target=ask, args=(gateway, "/api/events/log", WALL)) for _ in range(8)]
    for each in floods:
        each.start()
    wait_for(lambda: len(waiting) == 2, what="the searches that are made")
    found = threading.Thread(target=ask, args=(gateway, "/api/events/log"))
    found.start()
    wait_for(lambda: len(waiting) == 3, what="the admin's search")
    release.set()
    for each in (*floods, found):
        each.join()
