"""The websocket server and its broker: restarts, freezes, logins, Unix sockets, Sentinel and TLS."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import redis

from elastic_inference.base.config import RedisTarget, Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey, server_binary
from elastic_inference.domain import keys
from tests.conftest import missing_tool
from tests.support.ports import free_port
from tests.support.raw_viewer import RawViewer
from tests.support.waiting import TIME_FACTOR, wait_for
from tests.support.websocket_server import (
    BIG_JPEG,
    STREAM,
    Relay,
    message,
    orders,
)


@contextmanager
def watched_broker() -> Iterator[tuple[EmbeddedValkey, redis.Redis, Relay, RawViewer]]:
    """A broker that may be stopped, a client of it, and a relay with a viewer that has received result 1."""
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as own:
        own.hset(keys.stream_info(STREAM), "type", "people")
        with Relay(queue_url=server.url) as relay, relay.open() as viewer:
            wait_for(lambda: own.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
            yield server, own, relay, viewer


def test_redis_restart() -> None:
    """Viewers stay connected, the server stays ready and reports what is missing, frames arrive again within 5 s."""
    with watched_broker() as (server, own, relay, viewer):
        server.kill()
        wait_for(lambda: "stream broker" in relay.lifecycle.degraded(), what="the broker reported missing")
        assert relay.lifecycle.missing() == {}
        with relay.open("/other:people:inferred") as other:
            assert other.read_close_code() == 1013
        server.start()
        began = time.monotonic()
        wait_for(lambda: own.publish(STREAM, message(2)) == 1, 10, "the subscription again")
        assert orders(viewer, 1) == [2]
        assert time.monotonic() - began < 5 * TIME_FACTOR
        assert relay.lifecycle.degraded().get("stream broker") is None
        wait_for(lambda: own.exists(keys.watch(STREAM)), what="the watch key again")


def test_a_broker_that_freezes_is_noticed() -> None:
    """A stopped process keeps its sockets open: only its silence shows."""
    with watched_broker() as (server, own, relay, viewer):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: "stream broker" in relay.lifecycle.degraded(), 20, "the silence to be noticed")
        finally:
            os.kill(server.pid, signal.SIGCONT)
        numbers = itertools.count(2)
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.extend(orders(viewer, 1)))
        reader.start()

        def received_again() -> bool:
            # Valkey may still count the subscription of the connection that was closed.
            own.publish(STREAM, message(next(numbers)))
            return bool(seen)

        wait_for(received_again, 15, "frames again")
        reader.join()
        assert seen[0] >= 2


def target_unix(server: EmbeddedValkey) -> dict[str, Any]:
    return {"queue_url": f"unix://{server.folder}/valkey.sock"}


def target_login(server: EmbeddedValkey) -> dict[str, Any]:
    """The login of the ACL user `viewer`."""
    rules = (files("elastic_inference.adapters") / "acl" / "users.acl").read_text()
    (viewer,) = (line for line in rules.splitlines() if line.startswith("user viewer "))
    with redis.Redis(port=server.port) as admin:
        words = viewer.replace("{hash}", hashlib.sha256(b"secret").hexdigest()).split()[1:]
        admin.execute_command("ACL SETUSER", *words)
    return {"queue_url": server.url, "queue_username": "viewer", "queue_password": "secret"}


@pytest.mark.parametrize("target", [target_unix, target_login])
def test_other_kinds_of_connection_to_the_broker(
    target: Callable[[EmbeddedValkey], dict[str, Any]], tmp_path: Path
) -> None:
    # The path of a Unix socket may have 107 bytes: pytest's own folders are too deep.
    with EmbeddedValkey(options=["--unixsocket", "valkey.sock"]) as server, redis.Redis(port=server.port) as own:
        own.hset(keys.stream_info(STREAM), "type", "people")
        with Relay(**target(server)) as relay, relay.open() as viewer:
            wait_for(lambda: own.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
            wait_for(lambda: own.exists(keys.watch(STREAM)), what="the watch key")
            own.zadd(keys.sources("people"), {"pushed": own.time()[0] * 1000})
            with relay.open("/nobody:people:inferred") as nobody:
                assert nobody.read_close_code() == 4404
            with relay.open("/pushed:people:inferred"):
                wait_for(lambda: relay.metric("ei_viewers") == 2, what="the viewer of a stream that is only pushed")
            assert relay.lifecycle.degraded() == {}


def test_broker_found_by_a_sentinel(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {valkey.port} 1\n")
    with (tmp_path / "log").open("wb") as log:
        sentinel = subprocess.Popen([server_binary(), str(config), "--sentinel"], stdout=log, cwd=tmp_path)
    try:
        with redis.Redis(port=port) as asked:

            def knows() -> bool:
                try:
                    return bool(asked.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"))
                except redis.ConnectionError:
                    return False

            wait_for(knows, what="the sentinel")
        url = f"redis+sentinel://127.0.0.1:{port}/main/0"
        with Relay(queue_url=url) as relay, relay.open() as viewer:
            wait_for(lambda: client.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
    finally:
        sentinel.terminate()
        sentinel.wait(10)


def test_broker_behind_tls(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> None:
    """Valkey's wheel speaks no TLS, so a proxy in front of it does."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    try:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        missing_tool("openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    port: list[int] = []
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", valkey.port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async def proxy() -> None:
        loops.append(asyncio.get_running_loop())
        async with await asyncio.start_server(tunnel, "127.0.0.1", 0, ssl=context) as server:
            port.append(server.sockets[0].getsockname()[1])
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(proxy()))
    thread.start()
    try:
        wait_for(lambda: port, what="the proxy")
        url = f"rediss://localhost:{port[0]}/0"
        with Relay(queue_url=url, queue_ca_file=certificate) as relay, relay.open() as viewer:
            wait_for(lambda: client.publish(STREAM, message(1)) == 1, what="the subscription")
            assert orders(viewer, 1) == [1]
            client.publish(STREAM, message(2, BIG_JPEG))
            assert orders(viewer, 1) == [2]
        assert str(RedisTarget(url=Secret(url))) == url
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)
    assert not thread.is_alive()


def test_a_refused_login_is_reported_without_secret(valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        Relay(queue_url=valkey.url, queue_username="nobody", queue_password="hush-hush") as relay,
    ):
        why = wait_for(lambda: relay.lifecycle.degraded().get("stream broker"), what="the refusal")
    assert "nobody" in why
    assert "hush-hush" not in caplog.text + why
