"""Websockets through the gateway, to the real websocket server and to a socket that records what it receives."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.errors import SettingError
from elastic_inference.domain.result import parse_result
from elastic_inference.domain.result_message import split_message
from tests.support.gateway import JPEG, Pool, RunningGateway
from tests.support.ports import accepted, free_port
from tests.support.raw_viewer import RawViewer
from tests.support.viewer import connect_patiently as connect
from tests.support.waiting import wait_for
from tests.support.websocket_server import Relay

PATIENCE_S = 60.0
TOKEN = "correct-horse-battery"
BIG_JPEG = JPEG + bytes(50_000 - len(JPEG))


@pytest.fixture
def relay(valkey: EmbeddedValkey) -> Iterator[Relay]:
    with Relay(queue_url=valkey.url) as running:
        yield running


def gateway_to(port: int, valkey: EmbeddedValkey, **settings: str) -> RunningGateway:
    return RunningGateway(valkey.url, WEBSOCKET_SERVER_URL=f"ws://127.0.0.1:{port}", **settings)


@contextmanager
def recording_upstream(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Answers each connection's head with `answer`, then echoes. Returns (its port, the received heads)."""
    heads: list[bytes] = []

    def serve(server: socket.socket) -> None:
        for connection in accepted(server):
            with connection:
                connection.settimeout(PATIENCE_S)
                try:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        data += connection.recv(65536)
                    heads.append(data)
                    connection.sendall(answer)
                    while part := connection.recv(65536):
                        connection.sendall(part)
                except OSError:
                    pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield server.getsockname()[1], heads
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(PATIENCE_S)


HANDSHAKE = (
    b"GET /gate-1:people:inferred?format=json HTTP/1.1\r\nHost: localhost:31002\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


def receive(raw: socket.socket, count: int) -> bytes:
    raw.settimeout(PATIENCE_S)
    received = b""
    while len(received) < count and (part := raw.recv(count - len(received))):
        received += part
    return received


def test_all_three_formats_pass(valkey: EmbeddedValkey, client: redis.Redis, relay: Relay) -> None:
    pool = Pool(client)
    pool.publish()
    with gateway_to(relay.port, valkey) as gateway, pool.publishing(20):
        for query in ("", "?format=frame", "?format=json"):
            with connect(f"ws://{gateway.host}/{pool.stream_id}{query}", max_size=None) as viewer:
                messages = [viewer.recv(timeout=PATIENCE_S) for _ in range(3)]
            if query == "":
                assert all(isinstance(each, bytes) and each[:2] == b"\xff\xd8" for each in messages)
            elif query == "?format=frame":
                documents = [split_message(each) for each in messages if isinstance(each, bytes)]
                orders = [parse_result(document).order for document, _ in documents]
                assert orders == sorted(orders)
                assert bytes(documents[0][1]) == JPEG
            else:
                assert [parse_result(each).stream for each in messages] == [pool.stream_id] * 3
        wait_for(lambda: gateway.metric("ei_gateway_tunnels") == 0, PATIENCE_S, "the tunnels' end")
        assert gateway.metric("ei_gateway_requests_total", code="1xx") == 3


def test_refusals_of_the_websocket_server_pass(valkey: EmbeddedValkey, relay: Relay) -> None:
    with gateway_to(relay.port, valkey) as gateway, connect(f"ws://{gateway.host}/none:people:inferred") as viewer:
        with pytest.raises(ConnectionClosed):
            viewer.recv(timeout=PATIENCE_S)
        assert viewer.close_code == 4404


@pytest.mark.alone
def test_a_slow_viewer_is_only_a_few_frames_behind(valkey: EmbeddedValkey, client: redis.Redis, relay: Relay) -> None:
    pool = Pool(client)
    pool.publish()
    client.config_resetstat()

    def published() -> bool:
        pool.publish(BIG_JPEG)
        return "cmdstat_publish" in client.info("commandstats")

    with (
        gateway_to(relay.port, valkey) as gateway,
        # Its receive buffer is small, since the gateway cannot bound what the viewer's kernel keeps.
        RawViewer(gateway.port, f"/{pool.stream_id}?format=frame", receive_buffer_bytes=64 * 1024) as viewer,
    ):
        wait_for(lambda: client.pubsub_numsub(pool.stream_id)[0][1] == 1, what="the subscription")
        wait_for(published, what="a publisher that has noticed the viewer")
        for _ in range(150):
            pool.publish(BIG_JPEG)
            time.sleep(0.01)
        pool.publish(BIG_JPEG, pod="last")
        pods = []
        while "last" not in pods:
            pods.append(parse_result(split_message(viewer.read()[1])[0]).pod)
    # It read nothing during 150 frames. It then gets those in the buffers on the way, and the newest. With the kernel's
    # default buffers these are more than 50.
    assert len(pods) < 25


def test_the_websocket_server_gets_only_the_headers_that_it_needs(valkey: EmbeddedValkey) -> None:
    with recording_upstream(SWITCHED) as (port, heads), gateway_to(port, valkey, GATEWAY_TOKEN=TOKEN) as gateway:
        login = gateway.ask("/api/login", "POST", {"token": TOKEN})
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
            raw.sendall(
                HANDSHAKE
                + f"Authorization: Bearer {TOKEN}\r\nCookie: {cookie}\r\nOrigin: http://localhost:31002\r\n"
                f"X-Forwarded-For: 6.6.6.6\r\nX-Own: 1\r\n\r\nearly".encode()
            )
            assert receive(raw, len(SWITCHED) + 5) == SWITCHED + b"early"
            raw.sendall(b"more")
            assert receive(raw, 4) == b"more"
        (head,) = heads
        assert head.startswith(b"GET /gate-1:people:inferred?format=json HTTP/1.1\r\nHost: localhost\r\n")
        assert b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in head
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in head
        for secret in (TOKEN.encode(), b"ei_session", b"Cookie", b"Authorization", b"X-Own", b"6.6.6.6"):
            assert secret not in head


def test_who_may_open_a_websocket(valkey: EmbeddedValkey, client: redis.Redis, relay: Relay) -> None:
    pool = Pool(client)
    pool.publish()
    settings = {"GATEWAY_TOKEN": TOKEN, "ALLOWED_ORIGINS": "https://wall.example"}
    with gateway_to(relay.port, valkey, **settings) as gateway, pool.publishing(20):
        url = f"ws://{gateway.host}/{pool.stream_id}?format=json"
        session = gateway.ask("/api/login", "POST", {"token": TOKEN}).headers["Set-Cookie"].partition(";")[0]

        def status(headers: dict[str, str], origin: str | None = None) -> int:
            try:
                with connect(url, additional_headers=headers, origin=origin) as viewer:  # type: ignore[arg-type]
                    viewer.recv(timeout=PATIENCE_S)
                    return 101
            except InvalidStatus as error:
                document = json.loads(error.response.body)
                return error.response.status_code if set(document["error"]) == {"code", "message"} else 0

        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert status({}) == 401
        assert status({"Authorization": "Bearer wrong"}) == 401
        assert status(bearer) == 101
        assert status({"Cookie": session}) == 101
        assert status({"Cookie": session}, f"http://{gateway.host}") == 101
        assert status({"Cookie": session}, "https://wall.example") == 101
        assert status({"Cookie": session}, "https://evil.example") == 403
        assert status({"Cookie": session}, "null") == 403


def test_an_unreachable_websocket_server_is_a_502_and_is_reported(valkey: EmbeddedValkey) -> None:
    port = free_port()
    with gateway_to(port, valkey) as gateway:
        url = f"ws://{gateway.host}/gate-1:people:inferred"
        with pytest.raises(InvalidStatus) as refused:
            connect(url)
        assert refused.value.response.status_code == 502
        assert json.loads(refused.value.response.body)["error"]["code"] == "bad_gateway"
        assert set(gateway.ask("/api/streams").json["missing"]) == {"websocket_server"}
        with Relay(queue_url=valkey.url, port=port):
            with connect(url) as viewer, pytest.raises(ConnectionClosed):
                viewer.recv(timeout=PATIENCE_S)
            assert gateway.ask("/api/streams").json["missing"] == {}


def test_too_many_tunnels_are_refused(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.server.TUNNELS_OVER_VIEWERS", 0)
    with recording_upstream(SWITCHED) as (port, _), gateway_to(port, valkey, MAX_VIEWERS="1") as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as first:
            first.sendall(HANDSHAKE + b"\r\n")
            assert receive(first, len(SWITCHED)) == SWITCHED
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://{gateway.host}/gate-1:people:inferred")
            assert refused.value.response.status_code == 429
        wait_for(lambda: gateway.metric("ei_gateway_tunnels") == 0, what="the end of the first")


@pytest.mark.parametrize("change", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_upgrade_with_a_body_is_refused(valkey: EmbeddedValkey, change: bytes) -> None:
    with recording_upstream(SWITCHED) as (port, heads), gateway_to(port, valkey) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
            raw.sendall(HANDSHAKE + change + b"\r\n5\r\nhello\r\n0\r\n\r\n")
            raw.settimeout(PATIENCE_S)
            assert b" 400 " in raw.recv(65536).split(b"\r\n")[0]
        assert heads == []


def test_a_stop_ends_tunnels_and_events_quickly(valkey: EmbeddedValkey) -> None:
    with recording_upstream(SWITCHED) as (port, _):
        with gateway_to(port, valkey) as gateway:
            raw = socket.create_connection(("127.0.0.1", gateway.port))
            raw.sendall(HANDSHAKE + b"\r\n")
            assert receive(raw, len(SWITCHED)) == SWITCHED
            events = gateway.connection()
            events.request("GET", "/api/events")
            answer = events.getresponse()
            began = time.monotonic()
        assert time.monotonic() - began < 5
        assert raw.recv(10) == b""
        answer.read()
        raw.close()
        events.close()


def test_over_tls(valkey: EmbeddedValkey, client: redis.Redis, relay: Relay, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    pool = Pool(client)
    pool.publish()
    context = ssl.create_default_context(cafile=str(cert))
    settings = {"GATEWAY_TLS_CERT": str(cert), "GATEWAY_TLS_KEY": str(key), "GATEWAY_TOKEN": TOKEN}
    with gateway_to(relay.port, valkey, **settings) as gateway, pool.publishing(30, BIG_JPEG):
        connection = http.client.HTTPSConnection("127.0.0.1", gateway.port, timeout=PATIENCE_S, context=context)
        connection.request("POST", "/api/login", json.dumps({"token": TOKEN}))
        cookie = connection.getresponse().headers["Set-Cookie"]
        connection.close()
        assert "Secure" in cookie
        headers = {"Cookie": cookie.partition(";")[0]}
        url = f"wss://{gateway.host}/{pool.stream_id}?format=frame"
        with connect(
            url,
            ssl=context,
            additional_headers=headers,
            origin=f"https://{gateway.host}",
            max_size=None,  # type: ignore[arg-type]
        ) as viewer:
            orders = []
            for _ in range(20):
                message = viewer.recv(timeout=PATIENCE_S)
                assert isinstance(message, bytes)
                document, jpeg = split_message(message)
                assert bytes(jpeg) == BIG_JPEG
                orders.append(parse_result(document).order)
            assert orders == sorted(set(orders))
        wait_for(lambda: gateway.metric("ei_gateway_tunnels") == 0, PATIENCE_S, "the tunnel's end")
        # Plain HTTP is refused, without harm to others.
        with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE_S) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with suppress(ConnectionResetError):
                assert b" 200 " not in raw.recv(1000)


@pytest.mark.parametrize("wrong", ["no key", "no cert", "missing", "empty", "folder", "other key"])
def test_a_bad_certificate_is_a_clear_error(
    valkey: EmbeddedValkey, certificate: tuple[Path, Path], tmp_path: Path, wrong: str
) -> None:
    cert, key = (str(each) for each in certificate)
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    settings: dict[str, Any] = {
        "no key": {"GATEWAY_TLS_CERT": cert},
        "no cert": {"GATEWAY_TLS_KEY": key},
        "missing": {"GATEWAY_TLS_CERT": cert, "GATEWAY_TLS_KEY": str(tmp_path / "none.pem")},
        "empty": {"GATEWAY_TLS_CERT": cert, "GATEWAY_TLS_KEY": str(empty)},
        "folder": {"GATEWAY_TLS_CERT": str(tmp_path), "GATEWAY_TLS_KEY": key},
        "other key": {"GATEWAY_TLS_CERT": key, "GATEWAY_TLS_KEY": cert},
    }[wrong]
    with pytest.raises(SettingError, match=r"^GATEWAY_TLS_(CERT|KEY)=.* is not accepted: expected"):
        gateway_to(1, valkey, **settings).__enter__()


def test_an_odd_query_does_not_make_the_websocket_server_unreachable(
    valkey: EmbeddedValkey, client: redis.Redis, relay: Relay
) -> None:
    Pool(client).publish()
    odd = HANDSHAKE.replace(b"format=json", b"x=\xe9\xff&format=json") + b"\r\n"
    with gateway_to(relay.port, valkey) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
            raw.sendall(odd)
            assert receive(raw, 12) == b"HTTP/1.1 101"
        assert "websocket_server" not in gateway.ask("/api/streams").json["missing"]


def test_a_websocket_server_that_closes_one_connection_still_counts_as_reachable(valkey: EmbeddedValkey) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, gateway_to(server.getsockname()[1], valkey) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
            raw.sendall(HANDSHAKE + b"\r\n")
            connection, _ = server.accept()
            with connection:
                assert connection.recv(65536)
            assert b"502" in receive(raw, 12)
        assert "websocket_server" not in gateway.ask("/api/streams").json["missing"]
