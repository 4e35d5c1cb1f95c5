"""Each Redis user does its work, and nothing else, on a server whose `default` user is off."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.adapters.frame_queue import (
    Janitor,
    PushLease,
    PushOutcome,
    QueueConsumer,
    QueueProducer,
    QueueReader,
    ask_sizes,
    push_many,
)
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.image_size import WATCHED
from elastic_inference.domain.sequence import Tombstone
from tests.support.jpeg import tiny_jpeg
from tests.support.results import make_result
from tests.support.waiting import wait_for

RULES = config.QueueRules(token_limit=5)
STREAM = "gate-1:people:inferred"
PASSWORDS = {user: f"secret of {user}" for user in USERS}


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    acl_file: Path = tmp_path_factory.mktemp("acl") / "users.acl"
    acl_file.write_text(render_acl(PASSWORDS))
    with EmbeddedValkey(options=("--aclfile", str(acl_file))) as server:
        yield server


def target(server: EmbeddedValkey, user: str | None) -> config.RedisTarget:
    password = Secret(PASSWORDS[user]) if user else None
    return config.RedisTarget(url=Secret(server.url), username=user, password=password)


def client(server: EmbeddedValkey, user: str | None) -> redis.Redis:
    return connect(target(server, user), name=f"test-{user}")


def frame(name: str, seq: int = 0) -> Frame:
    return Frame(name, "people", tiny_jpeg(), seq)


def test_the_file_contains_no_password_and_allows_no_login_without_one(locked_server: EmbeddedValkey) -> None:
    text = render_acl(PASSWORDS)
    assert not any(password in text for password in PASSWORDS.values())
    with pytest.raises(AuthenticationError):
        client(locked_server, None).ping()


@pytest.mark.parametrize(
    "passwords", [{}, {**PASSWORDS, "guest": "x"}, {**PASSWORDS, "camera": ""}], ids=["none", "unknown", "empty"]
)
def test_passwords_must_be_complete(passwords: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="password"):
        render_acl(passwords)


async def test_queue_works_with_each_user_in_its_place(locked_server: EmbeddedValkey) -> None:
    with client(locked_server, "admin") as admin:
        admin.flushall()
    camera = QueueProducer(client(locked_server, "camera"), "people", "gate-1", RULES)
    other = QueueProducer(client(locked_server, "camera"), "people", "gate-2", RULES)
    worker = QueueConsumer(client(locked_server, "worker"), "people", "pod-1", RULES)
    reader = QueueReader(target(locked_server, "viewer"))
    janitor = Janitor(reader.clients, RULES, "replica-1")
    camera.push(frame("gate-1"))  # the legacy form: the scripts are not loaded yet
    await janitor.load_scripts("people")
    assert worker.pop(8, 0).frames[0].frame.name == "gate-1"
    for seq in range(8):  # over STREAM_QUEUE_DEPTH and over TOKEN_LIMIT
        other.push(frame("gate-2", seq))
        camera.push(frame("gate-1", seq))
    camera.report_source("live", 15.0, 0, 0)
    assert await reader.types() == ["people"]
    assert [source.name for source in await reader.sources("people")] == ["gate-1"]
    assert await janitor.run("people")
    waiting = await reader.length("people")
    popped = worker.pop(16, 0)
    while more := worker.pop(16, 0).frames:
        popped.frames.extend(more)
    assert len(popped.frames) == waiting
    assert waiting + sum(popped.dropped.values()) == 16
    worker.pop(1, 0.01)
    with client(locked_server, "admin") as admin:
        admin.script_flush()
    assert worker.pop(1, 0.01).frames == []  # loads them again automatically
    await reader.close()
    for end in (camera, other, worker):
        end.close()


CAMERA_MUST_NOT: list[tuple[str | int, ...]] = [
    ("GET", keys.frame("people", "gate-1", "x")),
    ("GETDEL", keys.frame("people", "gate-1", "x")),
    ("SET", keys.frame("people", "gate-1", "x"), "y", "GET"),
    ("LPOP", keys.legacy_queue("people")),
    ("LRANGE", keys.legacy_queue("people"), 0, -1),
    ("EVAL", "while true do end", 0),
    ("SCRIPT", "FLUSH"),
    ("SCRIPT", "LOAD", "return 1"),
    ("SUBSCRIBE", "gate-1:people:inferred"),
    ("PUBLISH", "gate-1:people:inferred", "x"),
    ("PUBLISH", "tombstones:gate-1:people:inferred", "x"),
    ("ZADD", "streams", 1, "x"),
    ("HSET", "stream:gate-1:people:inferred", "fps", 1),
    ("XADD", "results_people", "*", "a", "b"),
    ("CONFIG", "GET", "*"),
    ("KEYS", "*"),
    ("FLUSHALL",),
    ("ACL", "LIST"),
    ("SELECT", 1),
]
OTHERS_MUST_NOT: list[tuple[str, tuple[str | int, ...]]] = [
    ("worker", ("SUBSCRIBE", "gate-1:people:inferred")),
    ("worker", ("EVAL", "return 1", 0)),
    ("worker", ("SET", "watch:gate-1:people:inferred", "1")),
    ("worker", ("SCAN", 0)),
    ("worker", ("CONFIG", "GET", "*")),
    ("worker", ("FLUSHALL",)),
    ("viewer", ("PUBLISH", "gate-1:people:inferred", "x")),
    ("viewer", ("XADD", "results_people", "*", "a", "b")),
    ("viewer", ("ZADD", "streams", 1, "x")),
    ("viewer", ("EVAL", "return 1", 0)),
    ("viewer", ("GETDEL", keys.frame("people", "gate-1", "x"))),
    ("viewer", ("FLUSHALL",)),
    ("scaler", ("LPOP", keys.tokens("people"))),
    ("scaler", ("GET", keys.frame("people", "gate-1", "x"))),
    ("scaler", ("LLEN", "streams")),
    ("scaler", ("RPUSH", keys.legacy_queue("people"), "x")),
    ("scaler", ("SCRIPT", "LOAD", "return 1")),
    ("scaler", ("FUNCTION", "LOAD", "x")),
    ("scaler", ("CLUSTER", "NODES")),
    ("reader", ("XADD", "results_people", "*", "a", "b")),
    ("reader", ("XDEL", "results_people", "1-1")),
    ("reader", ("XTRIM", "results_people", "MAXLEN", 0)),
    ("reader", ("XGROUP", "DESTROY", "results_people", "counters")),
    ("reader", ("DEL", "results_people")),
    ("reader", ("XRANGE", "streams", "-", "+")),
    ("reader", ("XREAD", "STREAMS", keys.legacy_queue("people"), 0)),
    ("reader", ("GET", keys.frame("people", "gate-1", "x"))),
    ("reader", ("ZRANGE", "streams", 0, -1)),
    ("reader", ("SUBSCRIBE", STREAM)),
    ("reader", ("SCAN", 0)),
    ("reader", ("EVAL", "return 1", 0)),
]


@pytest.mark.parametrize("command", CAMERA_MUST_NOT, ids=lambda command: " ".join(map(str, command))[:40])
def test_camera_may_not(locked_server: EmbeddedValkey, command: tuple[str | int, ...]) -> None:
    with client(locked_server, "camera") as camera, pytest.raises(NoPermissionError):
        camera.execute_command(*command)


@pytest.mark.parametrize(("user", "command"), OTHERS_MUST_NOT, ids=lambda part: str(part)[:40])
def test_others_may_not(locked_server: EmbeddedValkey, user: str, command: tuple[str | int, ...]) -> None:
    with client(locked_server, user) as other, pytest.raises(NoPermissionError):
        other.execute_command(*command)


def test_results_and_tombstones_pass_from_worker_to_viewer(locked_server: EmbeddedValkey) -> None:
    channels = (STREAM, keys.tombstones(STREAM))
    with (
        client(locked_server, "viewer") as viewer,
        client(locked_server, "worker") as worker,
        viewer.pubsub() as pubsub,
    ):
        viewer.set(keys.watch(STREAM), 1)
        assert viewer.zrange(keys.STREAMS, 0, -1) == []
        assert viewer.pexpire(keys.watch(STREAM), 10_000, lt=True), "as housekeeping does"
        pubsub.subscribe(*channels)
        wait_for(lambda: all(count == 1 for _, count in worker.pubsub_numsub(*channels)), what="the subscriptions")
        ResultPublisher(worker, "people", "pod-1", 10).publish(
            [(make_result(stream=STREAM), b"jpeg")], [Tombstone(STREAM, 2, "invalid")]
        )
        received = set()

        def both() -> bool:
            if message := pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1):
                received.add(message["channel"].decode())
            return received == set(channels)

        wait_for(both, what="both messages")


# As KEDA 2.21 asks, whose client also sends HELLO and CLIENT SETINFO and does without an answer to the latter.
KEDA_SCRIPT = """
local name = KEYS[1]
local kind = redis.call('type', name).ok
if kind == 'zset' then return redis.call('zcard', name)
elseif kind == 'list' or kind == 'none' then return redis.call('llen', name)
else return redis.error_reply('ERR unsupported key type: ' .. kind) end
"""
SCALERS_SCRIPTS = [
    "return redis.call('lrange', KEYS[1], 0, -1)",
    "return redis.call('rpush', KEYS[1], 'x')",
    "return redis.call('del', KEYS[1])",
    "return redis.call('llen', 'streams')",
    "return redis.call('publish', 'gate-1:people:inferred', 'x')",
]


def test_scaler_reads_lengths_as_keda_asks_for_them(locked_server: EmbeddedValkey) -> None:
    with client(locked_server, "scaler") as scaler, client(locked_server, "admin") as admin:
        admin.flushall()
        admin.rpush(keys.tokens("people"), "gate-1", "gate-1")
        assert scaler.llen(keys.tokens("people")) == 2
        assert scaler.eval(KEDA_SCRIPT, 1, keys.tokens("people")) == 2
        assert scaler.eval(KEDA_SCRIPT, 1, keys.legacy_queue("people")) == 0
        with pytest.raises(ResponseError, match="cluster support disabled"):  # allowed: KEDA needs it in a cluster
            scaler.execute_command("CLUSTER SLOTS")
        assert scaler.command_count() > 100


@pytest.mark.parametrize("script", SCALERS_SCRIPTS)
def test_a_script_of_the_scaler_reads_and_writes_no_content(locked_server: EmbeddedValkey, script: str) -> None:
    with client(locked_server, "scaler") as scaler, client(locked_server, "admin") as admin:
        admin.flushall()
        admin.rpush(keys.tokens("people"), "gate-1")
        with pytest.raises(ResponseError, match=r"ACL|permission"):
            scaler.eval(script, 1, keys.tokens("people"))
        assert admin.llen(keys.tokens("people")) == 1


def test_an_endless_script_of_the_scaler_is_ended_by_an_admin(tmp_path: Path) -> None:
    (tmp_path / "users.acl").write_text(render_acl(PASSWORDS))
    options = ("--aclfile", str(tmp_path / "users.acl"), "--busy-reply-threshold", "50")
    with (
        EmbeddedValkey(options=options) as server,
        client(server, "scaler") as scaler,
        client(server, "admin") as admin,
        ThreadPoolExecutor(1) as other,
    ):
        admin.ping()
        endless = other.submit(scaler.eval, "while true do end", 0)

        def killed() -> bool:
            with contextlib.suppress(ResponseError):  # nothing runs yet
                return bool(admin.script_kill())
            return False

        wait_for(killed, what="the script to be killed")
        with pytest.raises(ResponseError, match="killed"):
            endless.result()
        assert admin.ping()


def test_reader_reads_results_alone_and_in_a_group(locked_server: EmbeddedValkey) -> None:
    key = keys.results("people")
    with client(locked_server, "reader") as reader, client(locked_server, "admin") as admin:
        admin.flushall()
        assert reader.xgroup_create(key, "counters", mkstream=True)
        entry = admin.xadd(key, {"json": "{}"})
        assert reader.xread({key: "0"})
        assert len(reader.xrange(key)) == len(reader.xrevrange(key)) == reader.xlen(key) == 1
        assert reader.xreadgroup("counters", "one", {key: ">"})
        assert reader.xpending(key, "counters")["pending"] == 1
        assert reader.xautoclaim(key, "counters", "two", min_idle_time=0)[1]
        assert reader.xack(key, "counters", entry) == 1


@pytest.mark.parametrize("optional", ["source", "gateway", "housekeeping", "events", "reader", "scaler"])
def test_an_optional_user_without_a_password_is_off(optional: str) -> None:
    text = render_acl({user: password for user, password in PASSWORDS.items() if user != optional})
    assert f"\nuser {optional} off resetchannels -@all\n" in text


def test_cameras_read_which_size_is_needed_and_write_none(locked_server: EmbeddedValkey) -> None:
    model, watched = keys.model_size("sized"), keys.size_wanted("sized", "gate-1")
    with client(locked_server, "worker") as pod, client(locked_server, "viewer") as server:
        pod.set(model, "300x300 stretch", px=60_000, nx=True, get=True)
        server.set(watched, "watched", px=10_000)
        with pytest.raises(NoPermissionError):
            server.get(watched)
    for user, lease in (("camera", None), ("source", PushLease(1))):
        with client(locked_server, user) as camera:
            for key in (model, watched):
                with pytest.raises(NoPermissionError):
                    camera.set(key, "x")
            producer = QueueProducer(camera, "sized", "gate-1", RULES, lease)
            producer.asks_size = True
            with client(locked_server, "worker") as pod:
                QueueConsumer(pod, "sized", "pod", RULES).load_scripts()
            outcomes = push_many([(producer, [Frame("gate-1", "sized", tiny_jpeg(), 1)])])
            assert [each.wanted for each in outcomes if isinstance(each, PushOutcome)] == [WATCHED]
            assert ask_sizes([producer]) == [WATCHED]
