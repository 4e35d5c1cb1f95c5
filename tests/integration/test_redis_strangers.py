"""Connections to Redis that do not log in are closed by housekeeping, and no others."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters import redis_strangers
from elastic_inference.adapters.redis_connection import connect_async
from elastic_inference.adapters.redis_strangers import Did, Strangers, read_connections
from elastic_inference.base.config import RedisTarget, Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.flows.housekeeping import rounds
from tests.support.redis_logins import Logins, server_with_users
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

NAME = "ei-housekeeping"


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    with server_with_users(tmp_path / "users.acl") as server, Logins(server) as found:
        yield found


@pytest.fixture
async def strangers(logins: Logins, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Strangers]:
    """It looks at each call, and gives no time to log in."""
    for name in ("EVERY_S", "LOGIN_WITHIN_S", "SCARCE_LOGIN_WITHIN_S"):
        monkeypatch.setattr(redis_strangers, name, 0)
    target = logins.target("housekeeping")
    client = connect_async(target, name=NAME)
    yield Strangers(client, target, NAME)
    await client.aclose()


def stranger(stack: ExitStack, server: EmbeddedValkey, *lines: str) -> socket.socket:
    """A connection that sends these commands and reads the answers."""
    found = stack.enter_context(socket.create_connection((server.host, server.port)))
    found.settimeout(10)
    for line in lines:
        found.sendall(line.encode() + b"\r\n")
        assert found.recv(1000)
    return found


def is_closed(each: socket.socket) -> bool:
    """Whether the server has closed it."""
    each.settimeout(0.2)
    try:
        return each.recv(1) == b""
    except TimeoutError:
        return False


def connects(logins: Logins) -> bool:
    """Whether a camera gets a place."""
    try:
        return bool(logins.client("camera").ping())
    except redis.ConnectionError:
        return False


async def test_who_does_not_log_in_is_closed(logins: Logins, strangers: Strangers) -> None:
    with ExitStack() as stack:
        closed = [
            stranger(stack, logins.server),
            stranger(stack, logins.server, "PING", "GET x"),
            stranger(stack, logins.server, "AUTH camera wrong"),
        ]
        kept = [
            stranger(stack, logins.server, "AUTH default x", "GET x"),
            stranger(
                stack, logins.server, "AUTH camera wrong", f"AUTH camera {logins.target('camera').password}", "PING"
            ),
        ]
        camera = logins.client("camera")
        camera.ping()
        assert await strangers.close_some(0) == len(closed)
        assert [is_closed(each) for each in (*closed, *kept)] == [True] * 3 + [False] * 2
        # While places are scarce, nobody without the name of a user stays.
        assert await strangers.close_some(5) == 2
        assert camera.connection_pool._available_connections, "ours is still the first one"
        camera.ping()
        assert await strangers.close_some(5) == 0


async def test_where_nobody_needs_a_login_only_the_silent_are_closed(
    valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_strangers, "LOGIN_WITHIN_S", 0)
    target = RedisTarget(url=Secret(valkey.url))
    client = connect_async(target, name=NAME)
    with ExitStack() as stack:
        silent, busy = stranger(stack, valkey), stranger(stack, valkey, "PING")
        await Strangers(client, target, NAME).close_some(0)
        assert (is_closed(silent), is_closed(busy)) == (True, False)
    await client.aclose()


async def test_a_connection_with_a_very_long_name_is_closed(
    logins: Logins, strangers: Strangers, caplog: pytest.LogCaptureFixture
) -> None:
    """Any login can give its connections names as long as a frame, and Redis lists them with each connection."""
    long, usual = logins.client("camera"), logins.client("camera")
    for client, name in ((long, "n" * 100_000), (usual, "n" * 200)):
        client.client_setname(name)
    before = usual.connection_pool._available_connections[0]
    assert await strangers.close_some(10_000) == 0, "those are others"
    admin = logins.client("admin")
    wait_for(lambda: len(admin.execute_command("CLIENT", "LIST")) < 50_000, what="the end of the connection")
    assert usual.ping()
    assert usual.connection_pool._available_connections == [before]
    assert "closed 1 connections to Redis with names of several kB" in caplog.text


async def test_one_login_does_not_hold_all_places(
    logins: Logins, strangers: Strangers, caplog: pytest.LogCaptureFixture
) -> None:
    admin, places = logins.client("admin"), 60
    admin.config_set("maxclients", places)
    # Housekeeping is connected before.
    assert await strangers.close_some(places) == 0
    established = logins.client("camera")
    established.ping()
    before = established.connection_pool._available_connections[0]
    password = logins.target("camera").password
    assert password is not None
    with ExitStack() as stack:
        for _ in range(places):
            each = stack.enter_context(socket.create_connection((logins.server.host, logins.server.port)))
            each.settimeout(10)
            each.sendall(f"AUTH camera '{password.get_secret_value()}'\r\n".encode())
            if not each.recv(100).startswith(b"+OK"):
                break
        assert not connects(logins), "all places are taken"
        await strangers.close_some(places)
        assert strangers.others_closed >= places // 2
        assert connects(logins)
    assert established.ping()
    assert established.connection_pool._available_connections[0] is before, "the oldest stay"
    assert "user camera at 127.0.0.1 holds more than half of Redis' 60 places" in caplog.text


async def test_without_the_right_nothing_happens(logins: Logins) -> None:
    client = connect_async(logins.target("viewer"), name=NAME)
    assert await Strangers(client, logins.target("viewer"), NAME).close_some(1) == 0
    await client.aclose()


def test_lines_of_other_versions_and_broken_ones_are_read() -> None:
    usual = b"id=%d addr=[::1]:%d name= age=30 idle=1 flags=N db=0 sub=0 psub=0 multi=-1 cmd=%s user=%s"
    lines = [
        usual % (1, 5, b"NULL", b"default"),
        usual % (2, 5, b"get", b"default"),
        usual % (3, 5, b"get", b"camera"),
        usual.replace(b"flags=N", b"flags=S") % (4, 5, b"psync", b"default"),
        b"id=x age=- user=default cmd=NULL flags=N",
        b" user=default \xff",
        usual.replace(b"name=", b"name=mine") % (5, 5, b"NULL", b"default"),
    ]
    found = read_connections(b" \n".join(lines) + b" \n")
    assert [(each.number, each.address, each.did) for each in found] == [
        (1, "[::1]", Did.NOTHING),
        (2, "[::1]", Did.SOMETHING),
    ]


@pytest.mark.parametrize("user", ["", "camera"], ids=["without a login", "with a camera's login"])
def test_the_places_come_back_while_a_stranger_holds_them(logins: Logins, tmp_path: Path, user: str) -> None:
    admin, server = logins.client("admin"), logins.server
    login = logins.target("housekeeping")
    environ = {
        "QUEUE_URL": server.url,
        "QUEUE_USERNAME": "housekeeping",
        "QUEUE_PASSWORD": str(login.password and login.password.get_secret_value()),
    }
    soon = dict.fromkeys((f"{redis_strangers.__name__}.EVERY_S", f"{rounds.__name__}.CONNECTIONS_EVERY_S"), 1.0)
    housekeeping = ServiceProcess("housekeeping", environ, tmp_path, "housekeeping", constants=soon).start()
    try:
        housekeeping.wait_ready()
        admin.config_set("maxclients", int(admin.info("clients")["connected_clients"]) + (40 if user else 20))
        with ExitStack() as stack:
            password = logins.target("camera").password
            log_in = [f"AUTH {user} '{password and password.get_secret_value()}'"] if user else []
            for _ in range(40):
                stranger(stack, server, *log_in)
            assert not connects(logins)
            wait_for(lambda: connects(logins), 30, "a place for the camera")
            count = "ei_redis_clients_closed_total" if user else "ei_redis_strangers_closed_total"
            wait_for(lambda: housekeeping.metric(count) >= 15, 10, "the count")
            wait_for(lambda: "closed" in housekeeping.log() and "127.0.0.1" in housekeeping.log(), 10, "the line")
    finally:
        housekeeping.kill()
