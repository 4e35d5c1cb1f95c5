"""Nothing that clients write stays in Redis for good, and millions of keys stop neither sweep nor scan for types."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.adapters.frame_queue import (
    Janitor,
    KnownTypes,
    QueueConsumer,
    QueueReader,
    Sweeper,
)
from elastic_inference.adapters.frame_queue import queue_reader as reader_module
from elastic_inference.adapters.frame_queue import (
    sweeper as sweeper_module,
)
from elastic_inference.adapters.frame_queue.queue_reader import MAX_TYPES
from elastic_inference.adapters.frame_queue.type_turns import TURN_S
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.queue_bench import TYPE, QueueBench
from tests.support.redis_servers import cluster

RULES = config.QueueRules()
LISTS = [
    *("queue_a:b", "queue_bad!", "queue_", "queue_zz", "queue_zz\xff"),
    *("{queue_zz}:tokens", "{queue_zz}:waiting:x", "{queue_zz}:waiting:a b", "{queue_zz}:order:x}:tokens"),
    *("{queue_a:b}:tokens", "{queue_a:b}:waiting:x", "{queue_bad..!}:tokens", "{queue_}:tokens", "{queue_}}:waiting:"),
]
HASHES = [
    "{queue_zz}:dropped",
    "{queue_a:b}:dropped",
    "{queue_a:b}:source:x",
    "{queue_zz}:source:",
    "{queue_{}:source:",
]
STRINGS = [
    "{queue_a:b}:frame:x",
    "{queue_a{b}:frame:x",
    "{queue_a}b}:frame:x",
    "{queue_zz}:frame:",
    "{queue_}:frame:\n",
]
SETS = ["{queue_a:b}:sources", "{queue_zz}:sources", "{queue_x}:x}:sources"]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A server with the shipped users; each user's password is its name."""
    acl_file: Path = tmp_path_factory.mktemp("acl") / "users.acl"
    acl_file.write_text(render_acl({user: user for user in USERS}))
    with EmbeddedValkey(options=("--aclfile", str(acl_file))) as server:
        yield server


def login(server: EmbeddedValkey, user: str) -> config.RedisTarget:
    return config.RedisTarget(url=Secret(server.url), username=user, password=Secret(user))


@pytest.fixture
async def queue_reader(bench: QueueBench) -> AsyncIterator[QueueReader]:
    found = QueueReader(bench.target)
    yield found
    await found.close()


def ttl_of(client: redis.Redis, key: str) -> int:
    return client.ttl(key.encode("latin-1"))


async def test_every_key_that_a_camera_may_write_goes_in_time(locked: EmbeddedValkey) -> None:
    with connect(login(locked, "camera")) as camera:
        for key in LISTS:
            camera.rpush(key.encode("latin-1"), "x")
        for key in HASHES:
            camera.hset(key, "queue_full", 1)
        for key in STRINGS:
            camera.set(key, "x")
        for key in SETS:
            camera.zadd(key, {"x": 1})
        camera.rpush(keys.tokens(TYPE), "x")
    viewer = QueueReader(login(locked, "viewer"))
    await Sweeper(viewer.clients, RULES).sweep([TYPE])
    await viewer.close()
    with connect(login(locked, "admin")) as admin:
        lives = {key: ttl_of(admin, key) for key in (*LISTS, *HASHES, *STRINGS, *SETS)}
        assert [key for key, life in lives.items() if not 0 < life <= 600] == []
        assert admin.ttl(keys.tokens(TYPE)) == -1, "janitors and pods empty the keys of a type in use"


async def test_requests_and_answers_of_the_pool_go_in_time(locked: EmbeddedValkey) -> None:
    writes = [("source", "{cameras}:reply:a"), ("gateway", "{cameras}:requests"), ("gateway", "{cameras}:probes")]
    for user, key in writes:
        with connect(login(locked, user)) as client:
            client.set(key, "x")
    reader = QueueReader(login(locked, "housekeeping"))
    with connect(login(locked, "admin")) as admin:
        admin.hset("{cameras}:specs", "gate", "{}")
        await Sweeper(reader.clients, RULES).sweep([TYPE])
        assert [key for _, key in writes if not 0 < admin.ttl(key) <= 60] == []
        assert admin.ttl("{cameras}:specs") == -1, "its owner keeps it"
        admin.delete("{cameras}:specs", *(key for _, key in writes))
    await reader.close()


async def test_what_pods_leave_of_images_goes_in_time(locked: EmbeddedValkey) -> None:
    left, kept = keys.snapshot_image("left"), keys.snapshot_image("kept")
    lists = keys.snapshot_requests("no-pod"), keys.snapshot_answers("no-worker")
    with connect(login(locked, "worker")) as pod:
        for key in (left, kept):
            pod.set(key, "x")
        for key in lists:
            pod.rpush(key, "x")
    with connect(login(locked, "admin")) as admin:
        admin.expire(kept, 86_400)
        for user, mended in (("viewer", False), ("housekeeping", True)):  # the former lacks the right
            reader = QueueReader(login(locked, user))
            await Sweeper(reader.clients, RULES).sweep([TYPE])
            await reader.close()
            assert [0 < admin.ttl(key) <= 60 for key in (left, *lists)] == [mended] * 3
        assert admin.ttl(kept) > 86_000, "the event service keeps it"
        admin.delete(left, kept, *lists)


async def test_a_distant_expiry_is_none(locked: EmbeddedValkey) -> None:
    distant = (keys.frame(TYPE, "cam", "far"), "queue_bad!", keys.source(TYPE, "cam"), keys.waiting("made-up", "x"))
    near = keys.frame(TYPE, "cam", "near")
    with connect(login(locked, "camera")) as camera:
        for key in distant:
            camera.set(key, "x", ex=10 * 365 * 24 * 3600)
        camera.set(near, "x", px=5000)
    viewer = QueueReader(login(locked, "viewer"))
    await Sweeper(viewer.clients, RULES).sweep([TYPE])
    await viewer.close()
    with connect(login(locked, "admin")) as admin:
        assert [key for key in distant if not 0 < admin.ttl(key) <= 600] == []
        assert 0 < admin.pttl(near) <= 5000, "a frame never gets a longer life"


async def test_drops_stay_while_their_type_is_in_use(bench: QueueBench, queue_reader: QueueReader) -> None:
    sweep = Sweeper(queue_reader.clients, RULES).sweep
    own, pods_own, nobodys = (keys.dropped(name) for name in (TYPE, "cars", "made-up"))
    for key in (own, pods_own, nobodys):
        bench.redis.hset(key, "stale", 1)
    await sweep([TYPE], ["cars"])
    assert [bench.redis.ttl(key) == -1 for key in (own, pods_own, nobodys)] == [True, True, False]
    bench.redis.pexpire(own, 100_000)
    bench.redis.pexpire(nobodys, 100_000)
    await sweep([TYPE], ["cars"])
    assert bench.redis.ttl(own) > 500, "the type is back: its drops are for the next pod"
    assert bench.redis.ttl(nobodys) <= 100


async def test_lists_of_a_type_that_nobody_knows_go_soon(locked: EmbeddedValkey) -> None:
    worker = QueueConsumer(connect(login(locked, "worker")), "night", "pod-1", RULES)
    worker.load_scripts()
    worker.close()
    names = ("unknown", "night", "cars", TYPE)
    written = {name: (keys.tokens(name), keys.legacy_queue(name), keys.waiting(name, "x")) for name in names}
    reader = QueueReader(login(locked, "viewer"))
    types = KnownTypes(reader)
    sweeper = Sweeper(reader.clients, RULES)
    with connect(login(locked, "camera")) as camera, connect(login(locked, "admin")) as admin:
        for key in (each for found in written.values() for each in found):
            camera.rpush(key, "x")
        await types.refresh()
        await sweeper.sweep([TYPE], ["cars"], types.had_pods)
        lives = {name: {admin.ttl(key) for key in found} for name, found in written.items()}
        assert 0 < min(lives["unknown"]) <= max(lives["unknown"]) <= sweeper_module.UNKNOWN_LIFE_S
        for name in ("night", "cars"):
            assert min(lives[name]) > 500, "its next pod may come soon"
        assert lives[TYPE] == {-1}
        # Once it is served, its janitor keeps what it has.
        camera.rpush(keys.tokens("unknown"), "x")
        camera.rpush(keys.waiting("unknown", "y"), f"{int(time.time() * 1e6)} 5 1")
        await sweeper.sweep([TYPE])
        assert await Janitor(reader.clients, RULES, "replica").run("unknown", found=["y"])
        kept = (keys.tokens("unknown"), keys.legacy_queue("unknown"), keys.waiting("unknown", "y"))
        assert min(admin.ttl(key) % 10**6 for key in kept) > 500
        admin.flushall()
    await reader.close()


async def test_a_list_of_frames_of_a_type_without_other_keys_goes(bench: QueueBench, queue_reader: QueueReader) -> None:
    bench.redis.rpush(keys.waiting("cars", "x"), "1 5 1")
    await Sweeper(queue_reader.clients, RULES).sweep([TYPE], ["cars"])
    assert bench.redis.ttl(keys.waiting("cars", "x")) > 0


async def test_every_server_of_a_cluster_is_swept() -> None:
    with cluster(2) as servers:
        target = config.RedisTarget(url=Secret(servers[0].url.replace("redis://", "redis+cluster://")))
        odd = [f"queue_bad!{number}" for number in range(8)]
        for key in odd:
            with connect(target, key=key) as client:
                client.rpush(key, "x")
        found = QueueReader(target)
        sweep = Sweeper(found.clients, RULES)
        for _ in range(3):
            await sweep.sweep([])
        lives = []
        for key in odd:
            with connect(target, key=key) as client:
                lives.append(client.ttl(key))
        assert min(lives) > 0
        await sweep.close()
        await found.close()


async def test_other_programs_keys_are_left_alone(bench: QueueBench, queue_reader: QueueReader) -> None:
    others = ("my_queue_x", "{queue_x}", "{queue_x}:other", "x{queue_x}:tokens")
    bench.redis.mset(dict.fromkeys(others, 1))
    await Sweeper(queue_reader.clients, RULES).sweep([])
    assert [bench.redis.ttl(key) for key in others] == [-1] * len(others)


def scans(bench: QueueBench) -> int:
    return int(bench.redis.info("commandstats").get("cmdstat_scan", {}).get("calls", 0))


async def test_a_sweep_keeps_pace_while_it_finds_keys_to_mend(
    bench: QueueBench, queue_reader: QueueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "SWEEP_S", 30.0)
    count = 10 * sweeper_module.KEYS_A_SHARE
    bench.redis.mset({keys.frame(TYPE, "flood", str(number)): b"x" for number in range(count)})
    sweep = Sweeper(queue_reader.clients, RULES).sweep
    await sweep([TYPE])
    assert sum(bench.redis.ttl(key) == -1 for key in bench.redis.scan_iter(count=5000)) == 0
    bench.redis.config_resetstat()
    await sweep([TYPE])
    assert scans(bench) * 1000 <= sweeper_module.KEYS_A_SHARE, "a share of clean keys stays cheap"


async def test_a_share_ends_in_time(
    bench: QueueBench, queue_reader: QueueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper_module, "SWEEP_S", 0.0)
    bench.redis.config_resetstat()
    await Sweeper(queue_reader.clients, RULES).sweep([TYPE])
    assert scans(bench) <= 1


async def test_a_scan_for_types_does_little_a_round_and_goes_on_in_the_next(
    bench: QueueBench, queue_reader: QueueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(reader_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(reader_module, "KEYS_A_STEP", 2000)
    types = KnownTypes(queue_reader)
    bench.redis.rpush(keys.legacy_queue("old"), "x")
    await types.refresh()
    assert types.names == ("old",)
    bench.redis.unlink(keys.legacy_queue("old"))
    bench.redis.mset({keys.frame(TYPE, "flood", str(number)): b"x" for number in range(10_000)})
    for number in range(20):
        bench.redis.rpush(keys.legacy_queue(f"new-{number}"), "x")
    bench.redis.config_resetstat()
    seen = []
    while "old" in types.names:
        clock.now += 1
        before = scans(bench)
        assert await types.refresh()
        assert scans(bench) - before <= 2
        seen.append(types.names)
        assert len(seen) < 60
    assert len(seen) >= 10, "two patterns, 10,000 keys each: no name goes before the whole pass"
    assert any(len(names) > 1 for names in seen[:-1]), "a find counts at once"
    assert len(types.names) == 20


async def test_two_tasks_may_ask_for_types_at_once(bench: QueueBench, queue_reader: QueueReader) -> None:
    bench.push("cam-1")
    types = KnownTypes(queue_reader)
    assert sorted(await asyncio.gather(*(types.refresh() for _ in range(4)))) == [False, False, False, True]
    assert types.names == (TYPE,)


async def test_types_with_pods_come_first(
    bench: QueueBench, queue_reader: QueueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_MAX_FOUND", 280)
    for number in range(300):
        bench.redis.zadd(keys.sources(f"a{number:03}"), {"x": 1})
    bench.push("cam-1")
    types = KnownTypes(queue_reader)
    types.prefer([TYPE])
    await types.refresh()
    assert len(types.names) == MAX_TYPES
    assert TYPE in types.names


async def test_a_type_that_had_pods_is_found_first_whatever_a_client_invents(
    locked: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_MAX_FOUND", 280)
    monkeypatch.setattr(reader_module, "FEW_KEYS_EVERY_S", 0)
    worker = QueueConsumer(connect(login(locked, "worker")), "zz-night", "pod-1", RULES)
    worker.load_scripts()
    worker.pop(1, 0)
    worker.close()
    viewer = QueueReader(login(locked, "viewer"))
    types = KnownTypes(viewer)
    with connect(login(locked, "camera")) as camera:
        for number in range(600):
            camera.zadd(keys.sources(f"a{number:03}"), {"x": 1})
        await types.refresh()
        assert len(types.names) == MAX_TYPES
        with pytest.raises(redis.exceptions.NoPermissionError):
            camera.set(keys.pods_mark("a001"), 1)
        assert "zz-night" not in types.names, "it has neither frames nor a producer"
        camera.rpush(keys.tokens("zz-night"), "cam-1")
    await types.refresh()
    await viewer.close()
    assert "zz-night" in types.names


async def test_a_new_type_gets_its_turn_whatever_a_client_invents(
    bench: QueueBench, queue_reader: QueueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(reader_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for number in range(700):
        bench.redis.zadd(keys.sources(f"a{number:03}"), {"x": 1})
    types = KnownTypes(queue_reader)
    await types.refresh()
    bench.push("cam-1")
    turns = 0
    while TYPE not in types.names:
        clock.now += TURN_S
        assert await types.refresh()
        turns += 1
        assert turns <= 701 / (MAX_TYPES / 2) + 1
