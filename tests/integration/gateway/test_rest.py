"""The gateway's REST and files over real HTTP with a real Valkey; every answer is compared with openapi.json."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import simplejpeg

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.gateway import JPEG, Answer, Pool, RunningGateway
from tests.support.openapi import OPENAPI, check, check_schema, streams_by_id
from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.support.websocket_server import Relay


@pytest.fixture
def gateway_with_relay(valkey: EmbeddedValkey) -> Iterator[RunningGateway]:
    with Relay(queue_url=valkey.url) as relay:
        url = f"ws://127.0.0.1:{relay.port}"
        with RunningGateway(valkey.url, WEBSOCKET_SERVER_URL=url) as running:
            yield running


def raw_answer(gateway: RunningGateway, request: bytes) -> bytes:
    """The answer up to the end of its head or of the connection."""
    answer = b""
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as raw:
        try:
            raw.sendall(request)
            while b"\r\n\r\n" not in answer and (part := raw.recv(65536)):
                answer += part
        except ConnectionError:
            pass
    return answer


def test_an_empty_system_has_no_streams(gateway: RunningGateway) -> None:
    assert check(gateway.ask("/api/streams"), "/api/streams").json == {"streams": [], "missing": {}}
    stats = check(gateway.ask("/api/stats"), "/api/stats").json
    assert (stats["types"], stats["workers"], stats["totals"]["queue_length"]) == ([], [], 0)


def test_streams_inferred_pushed_and_stalled(gateway: RunningGateway, client: redis.Redis) -> None:
    live, waiting, stalled = Pool(client), Pool(client, "gate-2", "face-int8"), Pool(client, "gate-3", "face-int8")
    live.push()
    waiting.push()
    stalled.push("stalled")
    live.publish()
    found = wait_for(lambda: len(found := streams_by_id(gateway)) == 3 and found, what="three streams")
    assert {each["name"]: each["state"] for each in found.values()} == {
        "gate-1": "live",
        "gate-2": "waiting",
        "gate-3": "stalled",
    }
    one = found[live.stream_id]
    assert (one["model"], one["precision"], one["width"]) == ("person-detection-retail-0013", "INT8", 320)
    assert one["source_fps"] == 15
    assert abs(one["last_seen"] - time.time()) < 60
    assert one["url"] == "/gate-1:people:inferred"
    assert found[waiting.stream_id]["latency_ms"] is None
    former = check(gateway.ask("/api/stream"), "/api/stream").json
    assert {each["id"] for each in former["streams"]} == set(found)
    for path in (live.stream_id, live.stream_id.replace(":", "%3A")):
        answer = check(gateway.ask(f"/api/streams/{path}"), "/api/streams/{id}")
        assert answer.json["id"] == live.stream_id


def test_stats_count_pods_streams_and_waiting_frames(gateway: RunningGateway, client: redis.Redis) -> None:
    pool, idle = Pool(client), Pool(client, "gate-2", "face-int8")
    pool.publish()
    idle.push()

    def found() -> Any:
        stats = check(gateway.ask("/api/stats"), "/api/stats").json
        return stats["totals"]["streams"] == 2 and stats

    stats = wait_for(found, what="both streams")
    by_type = {each["type"]: each for each in stats["types"]}
    assert by_type["people"] == {
        "type": "people",
        "infer_fps": 10.0,
        "drop_fps": 2.0,
        "scale_ratio": 1.2,
        "capacity_fps": 10.0,
        "queue_length": None,
        "replicas": 1,
        "streams": 1,
    }
    assert (by_type["face-int8"]["replicas"], by_type["face-int8"]["streams"]) == (0, 1)
    assert stats["totals"]["infer_fps"] == 10.0
    assert [(each["pod"], each["device"]) for each in stats["workers"]] == [("pod-1", "CPU")]
    assert abs(stats["time_ms"] / 1000 - time.time()) < 60


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api", 404, "not_found"),
        ("GET", "/api/", 404, "not_found"),
        ("GET", "/api/none", 404, "not_found"),
        ("GET", "/api/streams/none", 404, "not_found"),
        ("GET", "/api/streams/a:b:inferred", 404, "not_found"),
        ("GET", "/api/streams/" + "x" * 3000, 404, "not_found"),
        ("GET", "/api/streams/a:b:inferred/snapshot.jpg", 404, "not_found"),
        ("GET", "/api/streams/%ff", 400, "bad_request"),
        ("GET", "/metrics", 404, "not_found"),
        ("GET", "/readyz", 404, "not_found"),
        ("GET", "/assets/none.js", 404, "not_found"),
        ("GET", "/%ff", 400, "bad_request"),
        ("GET", "/../../etc/passwd.txt", 404, "not_found"),
        ("GET", "/gate-1:people:inferred", 426, "bad_request"),
        ("POST", "/api/streams", 405, "method_not_allowed"),
        ("DELETE", "/api/streams/a:b:inferred", 405, "method_not_allowed"),
        ("GET", "/api/login", 405, "method_not_allowed"),
        ("PUT", "/", 405, "method_not_allowed"),
        ("OPTIONS", "/api/stats", 405, "method_not_allowed"),
        ("BREW", "/api/stats", 405, "method_not_allowed"),
    ],
)
def test_errors_are_json(gateway: RunningGateway, method: str, path: str, status: int, code: str) -> None:
    answer = gateway.ask(path, method)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Content-Type"] == "application/json"
    check_schema(answer.json, "Error")
    if status == 405 and method != "BREW":
        assert method not in answer.headers["Allow"]


def test_an_exception_is_a_500_without_details(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.api.StatsHandler.document", lambda *_: 1 / 0)
    answer = gateway.ask("/api/stats")
    assert (answer.status, answer.code) == (500, "internal")
    assert b"ZeroDivision" not in answer.body
    check_schema(answer.json, "Error")


def test_every_answer_has_the_security_headers(gateway: RunningGateway) -> None:
    for path in ("/", "/api/streams", "/api/none"):
        headers = gateway.ask(path).headers
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        for part in (
            "default-src 'self'",
            "img-src 'self' blob: data:",
            f"connect-src 'self' ws://{gateway.host} wss://{gateway.host}",
            "worker-src 'self' blob:",
            "frame-ancestors 'self'",
        ):
            assert part in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"]
        assert "Tornado" not in headers["Server"]
    assert b" 400 " in raw_answer(gateway, b"GET / HTTP/1.1\r\nHost: evil.example; script-src *\r\n\r\n")[:20]


def test_head_answers_with_headers_only(gateway: RunningGateway) -> None:
    for path in ("/", "/api/streams", "/api/session", "/api/openapi.json"):
        answer = gateway.ask(path, "HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["Content-Length"]) > 0


def test_the_description_is_served(gateway: RunningGateway) -> None:
    assert check(gateway.ask("/api/openapi.json"), "/api/openapi.json").json == OPENAPI


def test_files_are_compressed_tagged_and_cached(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<title>page</title>")
    (tmp_path / "assets" / "index-4f2a.js").write_text("x" * 5000)
    with RunningGateway(valkey.url, DASHBOARD_DIR=str(tmp_path)) as gateway:
        script = gateway.ask("/assets/index-4f2a.js", Accept_Encoding="gzip")
        assert (script.status, script.headers["Content-Encoding"]) == (200, "gzip")
        assert "immutable" in script.headers["Cache-Control"]
        again = gateway.ask("/assets/index-4f2a.js", Accept_Encoding="gzip", If_None_Match=script.headers["Etag"])
        assert (again.status, again.body) == (304, b"")
        assert gateway.ask("/assets/index-4f2a.js").body == b"x" * 5000
        for path in ("/", "/pool", "/stream/gate-1.2:people:inferred"):
            page = gateway.ask(path)
            assert (page.body, page.headers["Cache-Control"]) == (b"<title>page</title>", "no-cache")


def test_without_a_built_dashboard_the_page_says_so_and_everything_else_works(
    valkey: EmbeddedValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.server.DASHBOARD", tmp_path)
    with RunningGateway(valkey.url) as gateway:
        page = gateway.ask("/")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert "make dashboard" in page.body.decode()
        assert "Node.js 20" in page.body.decode()
        assert gateway.ask("/pool").status == 404
        assert gateway.ask("/api/streams").status == 200
        (tmp_path / "index.html").write_text("<title>page</title>")
        assert gateway.ask("/").body == b"<title>page</title>", "built meanwhile"


def test_a_snapshot_has_the_boxes_and_is_shared(
    gateway_with_relay: RunningGateway, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a slow machine the eight requests may start far apart.
    monkeypatch.setattr("elastic_inference.flows.relay.snapshots.FRESH_S", 60.0)
    # The pod asks only once per second for viewers.
    monkeypatch.setattr("elastic_inference.flows.relay.snapshots.WAIT_S", 30.0)
    client.config_resetstat()
    pool = Pool(client)
    pool.publish()
    path = f"/api/streams/{pool.stream_id}/snapshot.jpg"
    answers: list[Answer] = []
    with pool.publishing(10):
        threads = [threading.Thread(target=lambda: answers.append(gateway_with_relay.ask(path))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [each.status for each in answers] == [200] * 8
    assert len({each.body for each in answers}) == 1
    assert client.info("commandstats")["cmdstat_subscribe"]["calls"] == 3, "results, tombstones and tracks"
    answer = check(answers[0], "/api/streams/{id}/snapshot.jpg")
    drawn = simplejpeg.decode_jpeg(answer.body, "BGR")
    original = simplejpeg.decode_jpeg(JPEG, "BGR")
    assert drawn.shape == (240, 320, 3)
    differs = np.abs(drawn.astype(int) - original).max(axis=2) > 60
    assert differs[100:140, 78:83].any(axis=1).all(), "the box's left edge"
    assert not differs[100:140, 120:200].any(), "inside the box"


def test_a_snapshot_of_a_stream_without_results_is_a_504(
    gateway_with_relay: RunningGateway, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.flows.relay.snapshots.WAIT_S", 0.3)
    pool = Pool(client)
    pool.publish()
    path = f"/api/streams/{pool.stream_id}/snapshot.jpg"
    answer = check(gateway_with_relay.ask(path), "/api/streams/{id}/snapshot.jpg")
    assert (answer.status, answer.code) == (504, "no_frame")
    with pool.publishing(20, b"not a JPEG"):
        answer = check(gateway_with_relay.ask(path), "/api/streams/{id}/snapshot.jpg")
    assert (answer.status, answer.code) == (504, "no_frame")


def test_a_snapshot_without_the_websocket_server_is_a_503(client: redis.Redis, valkey: EmbeddedValkey) -> None:
    with RunningGateway(valkey.url, WEBSOCKET_SERVER_URL=f"ws://127.0.0.1:{free_port()}") as gateway:
        pool = Pool(client)
        pool.publish()
        path = f"/api/streams/{pool.stream_id}/snapshot.jpg"
        answer = check(gateway.ask(path), "/api/streams/{id}/snapshot.jpg")
    assert (answer.status, answer.code) == (503, "unavailable")
    assert "websocket server is unreachable" in answer.json["error"]["message"]


def test_requests_that_are_too_large_or_not_http_are_refused_without_harm(gateway: RunningGateway) -> None:
    for request in (
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n",
        b"\x00\xff\xfe nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET http://\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        assert b" 200 " not in raw_answer(gateway, request).split(b"\r\n")[0]
        assert gateway.ask("/api/streams").status == 200
