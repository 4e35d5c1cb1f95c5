"""Tokens with roles: what a viewer sees, gets as events and may open, and what a change of the file of tokens does."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.result import parse_result
from elastic_inference.flows.gateway import api
from tests.support.gateway import Answer, Pool, RunningGateway, first_event, write_tokens
from tests.support.openapi import check, check_schema
from tests.support.viewer import connect_patiently as connect
from tests.support.waiting import wait_for
from tests.support.websocket_server import Relay

ADMIN, BOSS, WALL = "the-token-of-the-service", "the-token-of-the-boss", "the-token-of-the-wall"
TOKENS = [
    {"name": "boss", "role": "admin", "token": BOSS},
    {"name": "wall", "role": "viewer", "token": WALL, "cameras": ["gate-*"]},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.json"
    write_tokens(path, *TOKENS)
    return path


@pytest.fixture
def gateway(valkey: EmbeddedValkey, file: Path) -> Iterator[RunningGateway]:
    with Relay(queue_url=valkey.url) as relay:
        settings = {"GATEWAY_TOKENS_FILE": str(file), "WEBSOCKET_SERVER_URL": f"ws://127.0.0.1:{relay.port}"}
        with RunningGateway(valkey.url, **settings) as running:
            yield running


@pytest.fixture
def pools(client: redis.Redis) -> tuple[Pool, Pool, Pool]:
    """A camera that the viewer may see, and two that it may not: one of the same type, one of another."""
    pools = Pool(client), Pool(client, "yard-1"), Pool(client, "till-1", "face-int8")
    for pool in pools:
        pool.push()
        pool.publish()
    return pools


def ask(gateway: RunningGateway, path: str, token: str = WALL, **headers: str) -> Answer:
    return gateway.ask(path, Authorization=f"Bearer {token}", **headers)


def open_stream(gateway: RunningGateway, stream_id: str, token: str = WALL) -> ClientConnection:
    headers = {"Authorization": f"Bearer {token}"}
    # A viewer that has not read everything would wait for the end of the closing handshake.
    return connect(f"ws://{gateway.host}/{stream_id}?format=json", additional_headers=headers, close_timeout=0.2)


def streams_of(gateway: RunningGateway, token: str = WALL) -> set[str]:
    return {each["name"] for each in check(ask(gateway, "/api/streams", token), "/api/streams").json["streams"]}


def test_a_viewer_sees_only_its_cameras(gateway: RunningGateway, pools: tuple[Pool, Pool, Pool]) -> None:
    mine, other, _ = pools
    wait_for(lambda: streams_of(gateway, BOSS) == {"gate-1", "yard-1", "till-1"}, what="all streams for the admin")
    assert streams_of(gateway) == {"gate-1"}
    assert [each["id"] for each in ask(gateway, "/api/stream").json["streams"]] == [mine.stream_id]
    assert ask(gateway, f"/api/streams/{mine.stream_id}").status == 200
    assert ask(gateway, f"/api/streams/{other.stream_id}", BOSS).status == 200
    assert ask(gateway, "/api/openapi.json").status == 200

    stats = check(ask(gateway, "/api/stats"), "/api/stats").json
    (kind,) = stats["types"]
    assert (kind["type"], kind["streams"], kind["replicas"]) == ("people", 1, 1)
    assert (kind["drop_fps"], kind["scale_ratio"], kind["capacity_fps"], kind["queue_length"]) == (None,) * 4
    assert (stats["totals"]["streams"], stats["totals"]["drop_fps"], stats["workers"]) == (1, None, [])
    whole = check(ask(gateway, "/api/stats", BOSS), "/api/stats").json
    assert {each["type"] for each in whole["types"]} == {"people", "face-int8"}
    assert (whole["totals"]["streams"], len(whole["workers"])) == (3, 2)


def test_what_a_viewer_may_not_see_answers_as_if_it_did_not_exist(
    gateway: RunningGateway, pools: tuple[Pool, Pool, Pool]
) -> None:
    wait_for(lambda: len(streams_of(gateway, BOSS)) == 3, what="all streams for the admin")
    hidden, absent = pools[1].stream_id, "yard-9:people:inferred"
    for path in ("/api/streams/{}", "/api/streams/{}/snapshot.jpg"):
        seen, missing = ask(gateway, path.format(hidden)), ask(gateway, path.format(absent))
        assert seen.status == missing.status == 404
        assert seen.body.replace(b"yard-1", b"yard-9") == missing.body
        assert [each for each in seen.headers.items() if each[0] != "Date"] == [
            each for each in missing.headers.items() if each[0] != "Date"
        ]
    with pools[1].publishing(20):
        ends = []
        for stream_id in (hidden, absent, hidden.replace(":", "%3A")):
            with open_stream(gateway, stream_id) as viewer, pytest.raises(ConnectionClosed) as closed:
                viewer.recv(timeout=10)
            ends.append((closed.value.rcvd and closed.value.rcvd.code, closed.value.rcvd and closed.value.rcvd.reason))
        assert ends == [(4404, "no such stream")] * 3
        with open_stream(gateway, hidden, BOSS) as viewer:
            assert parse_result(viewer.recv(timeout=10)).stream == hidden


def test_a_viewer_opens_its_own_camera(gateway: RunningGateway, pools: tuple[Pool, Pool, Pool]) -> None:
    mine = pools[0]
    with mine.publishing(20):
        with open_stream(gateway, mine.stream_id) as viewer:
            assert parse_result(viewer.recv(timeout=10)).stream == mine.stream_id
        answer = ask(gateway, f"/api/streams/{mine.stream_id}/snapshot.jpg")
        assert (answer.status, answer.body[:2]) == (200, b"\xff\xd8")


def test_a_viewer_hears_only_of_its_cameras(
    gateway: RunningGateway, pools: tuple[Pool, Pool, Pool], client: redis.Redis
) -> None:
    with (
        gateway.events(Authorization=f"Bearer {BOSS}") as all_events,
        gateway.events(Authorization=f"Bearer {WALL}") as events,
    ):
        streams = first_event(events, "streams", lambda each: each["streams"])
        check_schema(streams, "StreamsEvent")
        stats = first_event(events, "stats", lambda each: each["totals"]["streams"])
        check_schema(stats, "StatsEvent")
        Pool(client, "yard-2").publish()
        first_event(all_events, "streams", lambda each: len(each["streams"]) == 4)
        # A foreign camera sends this viewer nothing. Its own does, and is then the only new one.
        Pool(client, "gate-2").publish()
        found = next((kind, each) for kind, each in events if kind == "streams" and len(each["streams"]) != 1)
        assert [each["name"] for each in found[1]["streams"]] == ["gate-1", "gate-2"]
        assert "yard" not in json.dumps([streams, stats, found])


def test_a_viewer_changes_nothing(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = []

    async def post(handler: api.StatsHandler) -> None:
        changed.append(handler.access.name)
        handler.answer_json({})

    monkeypatch.setattr(api.StatsHandler, "post", post)
    refused = gateway.ask("/api/stats", "POST", {}, Authorization=f"Bearer {WALL}")
    assert (refused.status, refused.code) == (403, "forbidden")
    assert gateway.ask("/api/stats", "POST", {}, Authorization=f"Bearer {BOSS}").status == 200
    assert gateway.ask("/api/stats", "POST", {}).status == 401
    assert changed == ["boss"]
    assert gateway.ask("/api/streams", "POST", {}, Authorization=f"Bearer {WALL}").status == 405


def test_a_session_says_whose_it_is(gateway: RunningGateway, valkey: EmbeddedValkey, file: Path) -> None:
    login = check(gateway.ask("/api/login", "POST", {"token": WALL}), "/api/login", "post")
    assert (login.json["name"], login.json["role"], login.json["cameras"]) == ("wall", "viewer", ["gate-*"])
    cookie = login.headers["Set-Cookie"].partition(";")[0]
    with RunningGateway(valkey.url, GATEWAY_TOKENS_FILE=str(file), GATEWAY_TOKEN=ADMIN) as replica:
        session = check(replica.ask("/api/session", Cookie=cookie), "/api/session").json
        assert (session["name"], session["role"]) == ("wall", "viewer")
        # The token of the service stays an admin's, and a valid token takes precedence over a session.
        assert replica.ask("/api/session", Authorization=f"Bearer {ADMIN}").json["login_required"]
        assert ask(replica, "/api/streams", ADMIN, Cookie=cookie).status == 200


def read_to_end(connection: ClientConnection) -> None:
    """Reads until the connection is closed."""
    with suppress(ConnectionClosed):
        while True:
            connection.recv(timeout=10)


def test_a_removed_token_ends_its_sessions_sockets_and_events(
    gateway: RunningGateway,
    pools: tuple[Pool, Pool, Pool],
    client: redis.Redis,
    file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    mine = pools[0]
    cookie = gateway.ask("/api/login", "POST", {"token": WALL}).headers["Set-Cookie"].partition(";")[0]
    url = f"ws://{gateway.host}/{mine.stream_id}?format=json"
    with (
        mine.publishing(20),
        gateway.events(Cookie=cookie) as events,
        gateway.events(Authorization=f"Bearer {BOSS}") as others,
        connect(url, additional_headers={"Cookie": cookie}) as viewer,
        open_stream(gateway, mine.stream_id, BOSS) as kept,
    ):
        viewer.recv(timeout=10)
        first_event(events, "streams")
        write_tokens(file, TOKENS[0])
        read_to_end(viewer)
        assert [kind for kind, _ in events if kind == "hello"] == [], "the stream of events has ended"
        assert gateway.ask("/api/streams", Cookie=cookie).status == 401
        assert not gateway.ask("/api/session", Cookie=cookie).json["logged_in"]
        assert ask(gateway, "/api/streams").status == 401
        with pytest.raises(InvalidStatus, match="401"):
            open_stream(gateway, mine.stream_id)
        # Nobody else is disturbed.
        for _ in range(5):
            kept.recv(timeout=10)
        Pool(client, "gate-2").publish()
        first_event(others, "streams", lambda each: len(each["streams"]) == 4)
    assert "removed wall" in caplog.text
    assert not any(token in caplog.text for token in (ADMIN, BOSS, WALL))


def test_a_removed_token_ends_its_socket_over_tls(
    valkey: EmbeddedValkey, client: redis.Redis, file: Path, certificate: tuple[Path, Path]
) -> None:
    pool = Pool(client)
    pool.publish()
    cert, key = certificate
    settings = {"GATEWAY_TLS_CERT": str(cert), "GATEWAY_TLS_KEY": str(key), "GATEWAY_TOKENS_FILE": str(file)}
    with Relay(queue_url=valkey.url) as relay:
        settings["WEBSOCKET_SERVER_URL"] = f"ws://127.0.0.1:{relay.port}"
        with (
            RunningGateway(valkey.url, **settings) as gateway,
            connect(
                f"wss://{gateway.host}/{pool.stream_id}?format=json",
                ssl=ssl.create_default_context(cafile=str(cert)),
                additional_headers={"Authorization": f"Bearer {WALL}"},
            ) as viewer,
        ):
            write_tokens(file, TOKENS[0])
            read_to_end(viewer)
            wait_for(lambda: gateway.metric("ei_gateway_tunnels") == 0, what="the tunnel's end")


def test_a_camera_taken_from_a_token_ends_its_socket_only(
    gateway: RunningGateway, pools: tuple[Pool, Pool, Pool], client: redis.Redis, file: Path
) -> None:
    second = Pool(client, "gate-2")
    second.publish()
    with (
        pools[0].publishing(20),
        second.publishing(20),
        open_stream(gateway, pools[0].stream_id) as lost,
        open_stream(gateway, second.stream_id) as kept,
        gateway.events(Authorization=f"Bearer {WALL}") as events,
    ):
        first_event(events, "streams")
        write_tokens(file, TOKENS[0], {**TOKENS[1], "cameras": ["gate-2", "yard-*"]})
        read_to_end(lost)
        for _ in range(5):
            kept.recv(timeout=10)
        list(events)  # ends, so that the client asks again
    assert wait_for(lambda: streams_of(gateway) == {"gate-2", "yard-1"}, what="the other cameras")


def test_a_broken_file_keeps_the_last_tokens_and_is_reported_once(
    gateway: RunningGateway, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text('{"tokens": [{"token": "' + WALL)
    wait_for(lambda: "tokens file" in gateway.lifecycle.degraded(), what="the report")
    text = gateway.lifecycle.degraded()["tokens file"]
    assert str(file) in text
    assert WALL not in text
    assert gateway.lifecycle.missing() == {}, "it stays ready"
    assert ask(gateway, "/api/streams").status == 200
    file.unlink()
    wait_for(lambda: "readable" in gateway.lifecycle.degraded()["tokens file"], what="the missing file's report")
    assert ask(gateway, "/api/streams").status == 200
    assert len([each for each in caplog.records if "tokens file" in each.getMessage()]) == 1
    write_tokens(file)
    wait_for(lambda: not gateway.lifecycle.degraded(), what="the end of the report")
    assert ask(gateway, "/api/streams").status == ask(gateway, "/api/streams", BOSS).status == 401


def test_a_secrets_mount_that_swaps_a_link_is_followed(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    for version, tokens in (("1", TOKENS), ("2", TOKENS[:1])):
        (tmp_path / version).mkdir()
        write_tokens(tmp_path / version / "tokens.json", *tokens)
    data, path = tmp_path / "..data", tmp_path / "tokens.json"
    data.symlink_to("1")
    path.symlink_to("..data/tokens.json")
    with RunningGateway(valkey.url, GATEWAY_TOKENS_FILE=str(path)) as gateway:
        assert ask(gateway, "/api/streams").status == 200
        os.symlink("2", tmp_path / "new")
        os.rename(tmp_path / "new", data)
        wait_for(lambda: ask(gateway, "/api/streams").status == 401, what="the removal", every_s=0.3)
        assert ask(gateway, "/api/streams", BOSS).status == 200
