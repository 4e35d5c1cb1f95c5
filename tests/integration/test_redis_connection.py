"""Every form of URL against a real server of its kind, and the message when one is unreachable."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.frame_queue import Janitor, QueueConsumer, QueueProducer, QueueReader
from elastic_inference.adapters.redis_connection import REDIS_ERRORS, connect, connect_async, explain
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.errors import SettingError
from elastic_inference.domain.frame import Frame
from tests.support.jpeg import tiny_jpeg
from tests.support.ports import free_port
from tests.support.redis_servers import TlsFront, cluster, sentinels
from tests.support.waiting import wait_for

RULES = config.QueueRules()
SECRET = "p@ss:w/rd%"


def target(url: str, **options: str | None) -> config.RedisTarget:
    password = options.pop("password", None)
    return config.RedisTarget(url=Secret(url), password=Secret(password) if password else None, **options)


def check_works(where: config.RedisTarget, key: str | None = None) -> None:
    """Both kinds of client, and a frame (large enough not to be copied) there and back."""
    with connect(where, key=key, name="ei-test") as client:
        assert client.client_getname() in (b"ei-test", "ei-test")
        assert client.set(key or "x", b"1")
        assert client.get(key or "x") == b"1"
        client.delete(key or "x")

    async def check_async() -> None:
        async with connect_async(where, key=key, name="ei-async") as client:
            assert await client.client_getname() in (b"ei-async", "ei-async")
            assert await client.exists(key or "x") == 0

    asyncio.run(check_async())
    pushing, popping = connect(where, key=key), connect(where, key=key)
    producer = QueueProducer(pushing, "people", "cam-1", RULES)
    consumer = QueueConsumer(popping, "people", "pod", RULES)
    consumer.load_scripts()
    jpeg = tiny_jpeg(padding=300_000)
    assert producer.push(Frame("cam-1", "people", jpeg)).pushed
    assert consumer.pop(1, 1).frames[0].frame.data == jpeg
    producer.close()
    consumer.close()
    pushing.close()
    popping.close()


def test_plain_url_with_a_database(valkey: EmbeddedValkey) -> None:
    check_works(target(valkey.url))
    with connect(target(f"redis://localhost:{valkey.port}/3")) as client:
        client.set("here", "1")
    with connect(target(valkey.url)) as client:
        assert client.get("here") is None


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "valkey.sock"
    with EmbeddedValkey(options=("--unixsocket", str(path))):
        check_works(target(f"unix://{path}"))


def test_password_in_the_url_or_beside_it() -> None:
    with EmbeddedValkey(options=("--requirepass", SECRET)) as server:
        check_works(target(f"redis://:p%40ss%3Aw%2Frd%25@127.0.0.1:{server.port}/0"))
        check_works(target(server.url, password=SECRET))
        check_works(target(server.url, username="default", password=SECRET))


@pytest.mark.parametrize("password", [SECRET, None], ids=["wrong", "none"])
def test_a_refused_login_is_explained_without_the_password(password: str | None) -> None:
    with EmbeddedValkey(options=("--requirepass", "right")) as server:
        where = target(server.url, username="camera" if password else None, password=password)
        with pytest.raises(REDIS_ERRORS) as caught, connect(where) as client:
            client.ping()
        with pytest.raises(REDIS_ERRORS):
            PipelineConnection(connect(where)).exchange([("PING",)])
        text = explain(caught.value, where)
        assert f"127.0.0.1:{server.port}" in text
        assert ("'camera'" in text and "password is wrong" in text) if password else "none is set" in text
        for shown in (text, str(caught.value), repr(where)):
            assert SECRET not in shown


def test_tls_with_the_authority_given(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with TlsFront(valkey, tmp_path) as front:
        check_works(target(f"rediss://localhost:{front.port}/0", ca_file=str(front.ca_file)))


def test_tls_refuses_an_unknown_authority_and_a_wrong_host(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    with TlsFront(valkey, tmp_path, host="other.example") as front:
        for where in (
            target(f"rediss://localhost:{front.port}/0"),
            target(f"rediss://localhost:{front.port}/0", ca_file=str(front.ca_file)),
        ):
            with pytest.raises(REDIS_ERRORS) as caught, connect(where) as client:
                client.ping()
            assert "certificate" in explain(caught.value, where).lower()


def test_sentinels_name_the_master_and_its_successor(tmp_path: Path) -> None:
    with EmbeddedValkey() as master, EmbeddedValkey(options=("--replicaof", f"127.0.0.1 {master.port}")) as replica:
        with redis.Redis(port=master.port) as client:
            wait_for(lambda: client.info("replication")["connected_slaves"] == 1, 20, "the replica")
        with sentinels(master, tmp_path, "eye") as ports:
            hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
            where = target(f"redis+sentinel://{hosts}/eye/0")
            check_works(where)
            with redis.Redis(port=ports[0]) as sentinel:
                wait_for(lambda: sentinel.sentinel_slaves("eye"), 20, "the sentinels' knowing the replica")
                link = PipelineConnection(connect(where))
                link.exchange([("SET", "a", "b")])
                master.kill()
                wait_for(
                    lambda: sentinel.sentinel_get_master_addr_by_name("eye")[1] == replica.port, 30, "the fail-over"
                )
            wait_for(lambda: _answers(lambda: link.exchange([("SET", "a", "c")])), 10, "the new master")
            with redis.Redis(port=replica.port) as client:
                assert client.get("a") == b"c"
            link.close()
            unknown = target(f"redis+sentinel://{hosts}/unknown")
            with pytest.raises(REDIS_ERRORS), connect(unknown) as client:
                client.ping()


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except REDIS_ERRORS:
        return False
    return True


async def _types(where: config.RedisTarget) -> list[str]:
    reader = QueueReader(where)
    janitor = Janitor(reader.clients, RULES, "test")
    try:
        for name in await reader.types():
            await janitor.run(name)
            assert await reader.length(name) >= 0
        return await reader.types()
    finally:
        await reader.close()


def test_cluster_of_three_spreads_the_types() -> None:
    with cluster(3) as servers:
        where = target("redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers))
        check_works(where, keys.legacy_queue("people"))
        types = [f"type-{index}" for index in range(12)]
        owners = set()
        for name in types:
            with connect(where, key=keys.legacy_queue(name)) as client:
                client.rpush(keys.legacy_queue(name), "x")
                owners.add(client.info("server")["tcp_port"])
        assert owners == {server.port for server in servers}
        assert asyncio.run(_types(where)) == sorted(types)
        # The first seed is unavailable: another one answers.
        servers[0].kill()
        last = next(name for name in types if _owned_by(where, name, servers[2].port))
        with connect(where, key=keys.legacy_queue(last)) as client:
            assert client.llen(keys.legacy_queue(last)) == 1


def _owned_by(where: config.RedisTarget, name: str, port: int) -> bool:
    try:
        with connect(where, key=keys.legacy_queue(name)) as client:
            return bool(client.info("server")["tcp_port"] == port)
    except REDIS_ERRORS:
        return False


def test_moved_slot_is_found_again() -> None:
    with cluster(2) as (first, second):
        where = target(f"redis+cluster://127.0.0.1:{first.port}")
        key = keys.legacy_queue("people")
        link = PipelineConnection(connect(where, key=key))
        link.exchange([("RPUSH", key, "x"), ("DEL", key)])
        with redis.Redis(port=first.port) as one, redis.Redis(port=second.port) as two:
            slot = int(one.execute_command("CLUSTER", "KEYSLOT", key))
            owner = two.execute_command("CLUSTER", "MYID")
            if link.exchange([("CLUSTER", "MYID")])[0] == _bytes(owner):
                owner = one.execute_command("CLUSTER", "MYID")
            for client in (one, two):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", owner)
        with pytest.raises(REDIS_ERRORS):
            link.exchange([("RPUSH", key, "x")])
        assert link.exchange([("RPUSH", key, "x")]) == [1]
        link.close()


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def test_an_unavailable_or_silent_redis_fails_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    unused = target(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(REDIS_ERRORS) as caught, connect(unused) as client:
        client.ping()
    assert "is unavailable" in explain(caught.value, unused)
    monkeypatch.setattr("elastic_inference.adapters.redis_connection.ANSWER_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        silent = target(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0")
        begin = time.monotonic()
        link = PipelineConnection(connect(silent))
        with pytest.raises(redis.TimeoutError):
            link.exchange([("PING",)])
        link.close()
        assert time.monotonic() - begin < 20


def test_refusing_foreign_and_unavailable_servers_are_told_apart() -> None:
    where = target("redis://queue.example:31002/0")
    assert "refuses a command" in explain(redis.ResponseError("ERR ACL failure in script"), where)
    assert "is not Redis" in explain(redis.InvalidResponse("Protocol Error: b'HTTP/1.1 400'"), where)
    assert "is unavailable" in explain(redis.ConnectionError("Connection refused"), where)


def test_a_server_that_falls_silent_is_noticed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elastic_inference.adapters.redis_connection.ANSWER_TIMEOUT_S", 0.3)
    with EmbeddedValkey() as server:
        assert server.pid
        link = PipelineConnection(connect(target(server.url)))
        # A request that fits into the kernel's buffers gets stuck in the read, a larger one in the write.
        for size in (10, 50_000_000):
            assert link.exchange([("PING",)]) == [b"PONG"]
            os.kill(server.pid, signal.SIGSTOP)
            try:
                begin = time.monotonic()
                with pytest.raises(redis.TimeoutError):
                    link.exchange([("SET", "a", bytes(size))])
                assert 0.2 < time.monotonic() - begin < 5
            finally:
                os.kill(server.pid, signal.SIGCONT)
        link.close()


def test_a_link_returns_errors_in_their_place(valkey: EmbeddedValkey) -> None:
    link = PipelineConnection(connect(target(valkey.url)))
    replies = link.exchange([("SET", "a", b"x" * 20_000), ("LPUSH", "a", 1), ("STRLEN", "a"), ("EVALSHA", "f" * 40, 0)])
    assert replies[0] == b"OK"
    assert isinstance(replies[1], redis.ResponseError)
    assert replies[2] == 20_000
    assert isinstance(replies[3], redis.exceptions.NoScriptError)
    many = [("SET", f"k{index}", b"y" * 9000) for index in range(1500)]
    assert link.exchange(many) == [b"OK"] * 1500
    link.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:99999/0",
        "redis://h:x/0",
        "redis://192.168..1.5/0",
        "redis+sentinel://[::1/name",
        "redis:///0",
        "redis://h:1,g:2/0",
        "redis://h/zero",
        "redis://h/0?ssl_cert_reqs=none",
        "unix://",
        "redis+sentinel://h:1,g:2",
        "redis+cluster://h:1/4",
    ],
)
def test_invalid_urls(url: str) -> None:
    with pytest.raises(SettingError, match="expected") as caught:
        connect(target(url.replace("://", "://user:hidden@", 1)), key="queue_x")
    assert "hidden" not in str(caught.value)
