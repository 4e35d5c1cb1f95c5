"""The gateway's connections: those that a client blocks are closed, and there are never too many."""

from __future__ import annotations

import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base import config
from elastic_inference.base.connections import reset_at_close
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.gateway.events import MAX_CLIENTS
from elastic_inference.flows.gateway.server import TUNNELS_OVER_VIEWERS
from tests.support.gateway import JPEG, Pool, RunningGateway, a_result
from tests.support.waiting import wait_for

STREAM = "gate-1:people:inferred"
HANDSHAKE = (
    f"GET /{STREAM} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
FILE_BYTES = 4 * 1024 * 1024


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write may wait for 0.5 s."""
    monkeypatch.setattr("elastic_inference.flows.gateway.server.WRITE_STALL_S", 0.5)
    monkeypatch.setattr("elastic_inference.flows.gateway.server.SWEEP_S", 0.05)


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings without and with a certificate."""
    if request.param == "plain":
        return {}
    cert, key = request.getfixturevalue("certificate")
    return {"GATEWAY_TLS_CERT": str(cert), "GATEWAY_TLS_KEY": str(key)}


@contextmanager
def client_of(gateway: RunningGateway) -> Iterator[socket.socket]:
    """A connection whose client accepts little."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        raw.settimeout(10)
        raw.connect(("127.0.0.1", gateway.port))
        if gateway.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(raw, suppress_ragged_eofs=True) as wrapped:
                yield wrapped
        else:
            yield raw


@contextmanager
def flooding_upstream() -> Iterator[tuple[int, threading.Event]]:
    """A websocket server that sends endlessly until the event is set, then closes. Returns (its port, the event)."""
    leave = threading.Event()

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.settimeout(0.05)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            while not leave.is_set():
                with suppress(TimeoutError):
                    connection.sendall(bytes(65536))
            reset_at_close(connection)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        yield server.getsockname()[1], leave
        leave.set()
        thread.join(10)


@contextmanager
def flooded_tunnel(
    valkey: EmbeddedValkey, tls: dict[str, str]
) -> Iterator[tuple[RunningGateway, socket.socket, threading.Event]]:
    """A tunnel to a flooding upstream. Returns (the gateway, the client, the event that ends the upstream)."""
    with (
        flooding_upstream() as (port, leave),
        RunningGateway(valkey.url, WEBSOCKET_SERVER_URL=f"ws://127.0.0.1:{port}", **tls) as gateway,
        client_of(gateway) as raw,
    ):
        raw.sendall(HANDSHAKE)
        wait_for(lambda: gateway.metric("ei_gateway_tunnels") == 1, what="the tunnel")
        yield gateway, raw, leave


def rss_bytes() -> int:
    """This process' memory; the gateway is a part of it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def read_to_end(raw: socket.socket) -> int:
    """How many bytes still arrive."""
    count = 0
    with suppress(ConnectionError, ssl.SSLError):
        while part := raw.recv(65536):
            count += len(part)
    return count


def test_a_client_that_asks_for_files_and_reads_nothing_is_disconnected(
    valkey: EmbeddedValkey, short_limit: None, tls: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<html>")
    (tmp_path / "large.bin").write_bytes(bytes(FILE_BYTES))
    with RunningGateway(valkey.url, DASHBOARD_DIR=str(tmp_path), **tls) as gateway, ExitStack() as clients:
        before, highest = rss_bytes(), 0
        raws = [clients.enter_context(client_of(gateway)) for _ in range(30)]
        for raw in raws:
            raw.sendall(b"GET /large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 60)
        wait_for(lambda: gateway.metric("ei_connections") == 30, what="the connections")

        def gone() -> bool:
            nonlocal highest
            highest = max(highest, rss_bytes())
            return gateway.metric("ei_connections") == 0

        wait_for(gone, 20, "their end")
        assert highest - before < 10 * FILE_BYTES, "a copy for each client would be 30 files"
        assert read_to_end(raws[0]) < FILE_BYTES / 4


def test_a_client_that_reads_slowly_gets_all(
    valkey: EmbeddedValkey, short_limit: None, tls: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<html>")
    (tmp_path / "large.bin").write_bytes(bytes(FILE_BYTES // 4))
    with RunningGateway(valkey.url, DASHBOARD_DIR=str(tmp_path), **tls) as gateway, client_of(gateway) as raw:
        raw.sendall(b"GET /large.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        count, pause = 0, threading.Event()
        for _ in range(40):
            count += len(raw.recv(16384))
            pause.wait(0.02)
        assert count + read_to_end(raw) > FILE_BYTES // 4


def test_a_client_that_reads_no_events_is_disconnected(valkey: EmbeddedValkey, short_limit: None) -> None:
    with (
        redis.Redis(port=valkey.port, max_connections=200) as client,
        RunningGateway(valkey.url) as gateway,
        client_of(gateway) as raw,
    ):
        pools = [Pool(client, f"{'camera' * 18}-{number}") for number in range(100)]
        raw.sendall(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        wait_for(lambda: gateway.metric("ei_gateway_event_clients") == 1, what="the client")

        def gone() -> bool:
            for pool in pools:
                pool.publish()
            return gateway.metric("ei_gateway_event_clients") == 0

        wait_for(gone, 20, "its end")
        assert gateway.metric("ei_connections") == 0


def test_the_tunnel_of_a_client_that_reads_nothing_is_released(
    valkey: EmbeddedValkey, short_limit: None, tls: dict[str, str]
) -> None:
    with flooded_tunnel(valkey, tls) as (gateway, raw, _):
        wait_for(lambda: gateway.metric("ei_gateway_tunnels") == 0, what="its end")
        wait_for(lambda: gateway.metric("ei_connections") == 0, what="the place")
        read_to_end(raw)


def test_a_tunnel_is_released_when_the_websocket_server_ends_it_though_the_client_reads_nothing(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch, tls: dict[str, str]
) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.server.LINGER_S", 0.3)
    monkeypatch.setattr("elastic_inference.flows.gateway.server.SWEEP_S", 0.05)
    with flooded_tunnel(valkey, tls) as (gateway, raw, leave):
        threading.Event().wait(1)
        assert gateway.metric("ei_gateway_tunnels") == 1, "a write may wait for 30 s"
        leave.set()
        wait_for(lambda: gateway.metric("ei_gateway_tunnels") == 0, what="its end")
        read_to_end(raw)


def test_additional_clients_wait_for_a_place(valkey: EmbeddedValkey) -> None:
    with RunningGateway(valkey.url, MAX_CONNECTIONS="16", MAX_CONNECTIONS_PER_ADDRESS="16") as gateway:
        with ExitStack() as held:
            connections = [held.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(17)]
            wait_for(lambda: gateway.metric("ei_connections") == 16, what="a full table")
            connections[16].sendall(b"GET /api/session HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            connections[0].close()
            connections[16].settimeout(10)
            assert connections[16].recv(12) == b"HTTP/1.1 200"
        wait_for(lambda: gateway.metric("ei_connections") == 0, what="all places")
        assert gateway.metric("ei_connections_refused_total") == 0


def test_large_responses_that_nobody_reads_are_bounded(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.handlers.MAX_SENDING_BYTES", 300_000)
    # Together, since the registry drops a stream without results.
    with redis.Redis(port=valkey.port) as client:
        publisher = ResultPublisher(client, "people", "pod-1", 100)
        publisher.publish([(a_result(1, f"{'camera' * 18}-{number}"), JPEG) for number in range(400)])
    with RunningGateway(valkey.url) as gateway:
        whole = gateway.ask("/api/streams")
        assert whole.status == 200
        assert 150_000 < len(whole.body) < 300_000
        with client_of(gateway) as raw:
            raw.sendall(b"GET /api/streams HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            refused = wait_for(
                lambda: [each for each in [gateway.ask("/api/streams")] if each.status == 503], what="the first to wait"
            )
            assert "large responses" in refused[0].json["error"]["message"]
            assert gateway.ask("/api/session").status == 200
        wait_for(lambda: gateway.ask("/api/streams").status == 200, what="the room that the first gives back")


def test_an_address_with_too_many_connections_is_refused_and_others_are_not(valkey: EmbeddedValkey) -> None:
    with RunningGateway(valkey.url, MAX_CONNECTIONS_PER_ADDRESS="1") as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)):
            wait_for(lambda: gateway.metric("ei_connections") == 1, what="the first connection")
            with pytest.raises(OSError, match=r".*"):
                gateway.ask("/api/session")
        wait_for(lambda: gateway.metric("ei_connections") == 0, what="its end")
        assert gateway.ask("/api/session").status == 200


def test_behind_a_proxy_the_clients_own_address_counts(valkey: EmbeddedValkey) -> None:
    settings = {"MAX_CONNECTIONS_PER_ADDRESS": "1", "TRUSTED_PROXIES": "127.0.0.1"}
    with RunningGateway(valkey.url, **settings) as gateway:
        events = gateway.connection()
        events.request("GET", "/api/events", headers={"X-Forwarded-For": "192.0.2.1"})
        answer = events.getresponse()
        assert answer.status == 200
        refused = gateway.ask("/api/session", X_Forwarded_For="192.0.2.1")
        assert (refused.status, refused.code) == (429, "too_many")
        assert gateway.ask("/api/session", X_Forwarded_For="192.0.2.2").status == 200
        answer.close()
        events.close()
        wait_for(lambda: gateway.metric("ei_connections") == 0, what="the events' end")
        # One connection of the proxy carries the requests of many.
        kept = gateway.connection()
        for number in (1, 2, 1):
            kept.request("GET", "/api/session", headers={"X-Forwarded-For": f"192.0.2.{number}"})
            with kept.getresponse() as each:
                assert (each.status, bool(each.read())) == (200, True)
        assert gateway.ask("/api/session", X_Forwarded_For="192.0.2.1").status == 200
        kept.close()


@pytest.mark.parametrize("setting", [{}, {"MAX_VIEWERS": "5000"}, {"MAX_VIEWERS": "1"}])
def test_all_viewers_may_share_one_address(setting: dict[str, str]) -> None:
    settings = config.load(config.GatewaySettings, setting)
    others = 400  # requests of pages that are just opened
    assert settings.connections // 2 >= settings.max_viewers + TUNNELS_OVER_VIEWERS + MAX_CLIENTS + others
