"""Answers that nobody reads and commands that never end take no memory from others' frames."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from elastic_inference.adapters.frame_queue import MemoryRelief, QueueReader
from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.redis_buffers import HIGH, SMALL_BYTES, Holder, choose, read_holders
from elastic_inference.base.redis_server import server_settings
from elastic_inference.domain import keys
from tests.support.redis_logins import PASSWORDS, Logins, frame, server_with_users
from tests.support.redis_names import OTHER, RESULTS, TYPE
from tests.support.unread import command, connection, send
from tests.support.waiting import wait_for

LIMIT = 64 << 20
SETTINGS = server_settings("64mb", 4 << 20)
VALUE = 1_000_000
Attack = Callable[[ExitStack, Logins], None]


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    with server_with_users(tmp_path / "users.acl") as server, Logins(server) as found:
        found.client("admin").config_set("maxmemory", LIMIT)
        yield found


@pytest.fixture
async def relief(logins: Logins) -> AsyncIterator[MemoryRelief]:
    reader = QueueReader(logins.target("housekeeping"), "ei-housekeeping")
    yield MemoryRelief(reader.clients)
    await reader.close()


def logged_in(stack: ExitStack, logins: Logins, user: str) -> socket.socket:
    return connection(stack, logins.server, user, PASSWORDS[user])


def unread_answers(stack: ExitStack, logins: Logins) -> None:
    """A camera asks again and again for a long report, and reads no answer."""
    key = keys.source("made-up", "x")
    logins.client("camera").hset(key, "state", bytes(VALUE))
    send(logged_in(stack, logins, "camera"), *[command("HGET", key, "state")] * 100)


def unfinished_command(stack: ExitStack, logins: Logins) -> None:
    """A camera begins a command of a million values."""
    begin = b"*1000000\r\n$5\r\nRPUSH\r\n$7\r\nqueue_x\r\n"
    send(logged_in(stack, logins, "camera"), begin, *[b"$%d\r\n%s\r\n" % (VALUE, bytes(VALUE))] * 100)


def many_connections(stack: ExitStack, logins: Logins) -> None:
    """Strangers without a login begin commands, as long as Redis lets them."""
    for _ in range(600):
        send(connection(stack, logins.server), b"*10\r\n" + (b"$16000\r\n" + bytes(16_000) + b"\r\n") * 9)


def pushes(logins: Logins) -> bool:
    return logins.producer(OTHER).push(frame(OTHER)).pushed


def held(logins: Logins) -> int:
    return int(logins.client("admin").info("memory")["mem_clients_normal"])


@pytest.mark.parametrize("attack", [unread_answers, unfinished_command, many_connections])
async def test_housekeeping_closes_whoever_takes_most(logins: Logins, relief: MemoryRelief, attack: Attack) -> None:
    camera = logins.client("camera")
    camera.ping()
    connected = camera.connection_pool._available_connections[0]
    with ExitStack() as stack:
        attack(stack, logins)
        wait_for(lambda: held(logins) > LIMIT, 20, "full buffers")
        assert not pushes(logins)
        closed = 0
        for _ in range(10):
            await relief.look([TYPE])
            closed += relief.closed
            if held(logins) <= HIGH * LIMIT:
                break
            relief._servers[0].buffers._due = 0.0
        assert held(logins) <= HIGH * LIMIT
        assert closed >= (300 if attack is many_connections else 1)
        assert pushes(logins)
        assert camera.ping()
        assert camera.connection_pool._available_connections == [connected], "a small one stays"


async def test_connections_of_our_services_stay(logins: Logins, relief: MemoryRelief) -> None:
    logins.client("worker").set(keys.frame(TYPE, "x", "1"), bytes(VALUE))
    with ExitStack() as stack:
        slow = logged_in(stack, logins, "worker")
        send(slow, *[command("GET", keys.frame(TYPE, "x", "1"))] * 40)
        wait_for(lambda: held(logins) > HIGH * LIMIT, 20, "unread answers")
        await relief.look([TYPE])
        assert relief.closed == 0
        assert slow.recv(100)


@pytest.mark.parametrize("attack", [unread_answers, unfinished_command])
def test_the_server_itself_leaves_room_for_frames(logins: Logins, attack: Attack) -> None:
    logins.client("admin").config_set("maxmemory-clients", SETTINGS["maxmemory-clients"])
    with ExitStack() as stack:
        attack(stack, logins)
        wait_for(lambda: logins.client("admin").info("stats")["evicted_clients"] >= 1, 20, "the end of a connection")
        assert pushes(logins)


def test_only_large_connections_are_closed_and_first_those_of_whoever_takes_most() -> None:
    small = [Holder(number, "camera", "10.0.0.1", SMALL_BYTES - 1) for number in range(100)]
    large = [Holder(1000 + number, "camera", "10.0.0.2", 1_000_000 + number) for number in range(20)]
    one = Holder(2000, "site-7", "10.0.0.1", 9_000_000)
    chosen = [each.number for each in choose([*small, one, *large], 100_000_000)]
    assert chosen == [*range(1019, 999, -1), 2000]
    chosen = [each.number for each in choose([*small, one, *large[:5]], 100_000_000)]
    assert chosen == [2000]
    assert choose([*small, one, *large], 1_000_000_000) == []
    assert choose(small, 1_000_000) == []


def test_lines_of_other_versions_and_broken_ones_are_read() -> None:
    usual = b"id=%d addr=[::1]:5 laddr=[::1]:6 name= age=3 tot-net-in=1 tot-mem=%d cmd=hget user=%s lib-name="
    lines = [
        *(usual % (1, 22, b"camera"), usual % (2, 33, b"default"), usual % (3, 44, b"worker")),
        *(b"id=4 addr=x:1 user=camera", b"id=x tot-mem=5 user=camera", b"\xff user=\xff tot-mem=\xff"),
    ]
    named = (usual % (5, 66, b"reader")).replace(b"name=", b"name=" + b"n" * 5000)
    assert read_holders(named) == [Holder(5, "reader", "[::1]", 66 + len(named))], "tot-mem lacks the name"
    assert read_holders(b" \n".join(lines)) == [Holder(1, "camera", "[::1]", 22), Holder(2, "default", "[::1]", 33)]


def test_an_answer_without_end_ends_the_connection(logins: Logins) -> None:
    """A reader asks for the same results many times with one command: Redis would make the whole answer first."""
    admin = logins.client("admin")
    assert f"normal {300 << 20} 0 0" in admin.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
    admin.config_set("client-output-buffer-limit", "normal 8mb 0 0")
    admin.config_set("maxmemory", 0)
    for _ in range(100):
        admin.xadd(RESULTS, {"json": "x" * 1500})
    admin.config_resetstat()
    with ExitStack() as stack:
        reader = logged_in(stack, logins, "reader")
        reader.settimeout(20)
        send(reader, command("XREAD", "STREAMS", *[RESULTS] * 500, *["0"] * 500))
        assert ends(reader)
    assert int(admin.info("memory")["used_memory_peak"]) < 40 << 20


def ends(connection_: socket.socket) -> bool:
    """Whether the server ends the connection, after what it has sent."""
    try:
        while connection_.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True


def test_the_script_of_pods_reads_little_for_a_camera(logins: Logins) -> None:
    """Lua copies what it reads, and Redis does not count that: a camera may run the script, but not measure a list."""
    logins.client("admin").config_set("maxmemory", 0)
    camera, tokens = logins.client("camera"), keys.tokens("made-up")
    for _ in range(24):
        camera.rpush(tokens, bytes(VALUE))
    arguments = ("{queue_made-up}:", "pod", 10**6, 10**12, 10**12, 60_000)
    with pytest.raises(RedisError):
        camera.evalsha(script("pop").sha, 2, tokens, keys.dropped("made-up"), *arguments)
    assert logins.client("admin").llen(tokens) >= 18, "it has taken 5 MB"
