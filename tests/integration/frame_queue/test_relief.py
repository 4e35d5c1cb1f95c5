"""Memory is taken from the type that has most of it, before Redis is full, and from no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.frame_queue import Janitor, MemoryRelief, QueueReader
from elastic_inference.adapters.frame_queue import relief as relief_module
from elastic_inference.adapters.frame_queue.relief import HIGH, LOW, NO_PODS, ServerRelief
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.domain import keys
from tests.support.redis_logins import RULES, Logins, frame, server_with_users
from tests.support.redis_names import NAME, SITE, SITE_TYPE, TYPE
from tests.support.redis_servers import cluster

MB = 1_000_000
PODS = {TYPE, SITE_TYPE}


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    with server_with_users(tmp_path / "users.acl") as server, Logins(server) as found:
        yield found


@pytest.fixture
async def reader(logins: Logins) -> AsyncIterator[QueueReader]:
    found = QueueReader(logins.target("housekeeping"))
    yield found
    await found.close()


async def relieve(reader: QueueReader, megabytes: int, pods: set[str] = PODS) -> dict[str, int]:
    """With a `maxmemory` of this many MB."""
    used, _ = await reader.memory()
    return dict(await ServerRelief(reader.clients.of("")).relieve(used, megabytes * MB, pods))


async def test_only_the_type_that_has_too_much_loses_frames(logins: Logins, reader: QueueReader) -> None:
    admin, site = logins.client("admin"), logins.client(SITE)
    for number in range(20):
        logins.producer(NAME).push(frame(NAME))
        admin.set(keys.frame(TYPE, NAME, f"other-{number}"), bytes(100_000), px=60_000)
        site.set(keys.frame(SITE_TYPE, NAME, str(number)), bytes(MB), px=60_000)
    site.rpush(keys.waiting(SITE_TYPE, NAME), bytes(3 * MB))
    others = sorted(admin.keys(f"{keys.queue_prefix(TYPE)}*"))
    used, _ = await reader.memory()
    assert await relieve(reader, int(used / HIGH / MB) + 2) == {}, "enough is free"
    taken = await relieve(reader, 27)
    assert taken.keys() == {SITE_TYPE}
    assert taken[SITE_TYPE] >= used - LOW * 27 * MB
    assert sorted(admin.keys(f"{keys.queue_prefix(TYPE)}*")) == others
    left = len(admin.keys(f"{keys.queue_prefix(SITE_TYPE)}frame:*"))
    assert 0 < left < 20, "it keeps its share"
    assert await relieve(reader, 27) == {}


async def test_a_type_within_its_share_loses_nothing(logins: Logins, reader: QueueReader) -> None:
    logins.client("admin").xadd(keys.results(TYPE), {"json": bytes(20 * MB)})
    logins.client(SITE).set(keys.frame(SITE_TYPE, NAME, "x"), bytes(MB), px=60_000)
    assert await relieve(reader, 25) == {}, "results have most"


async def test_types_without_pods_are_one(logins: Logins, reader: QueueReader) -> None:
    camera, admin = logins.client("camera"), logins.client("admin")
    for number in range(200):
        camera.set(keys.frame(f"made-up-{number}", NAME, "x"), bytes(MB // 10), px=60_000)
        camera.zadd(keys.sources(f"made-up-{number}"), {NAME: 1})
    admin.set(keys.frame(TYPE, NAME, "large"), bytes(2 * MB), px=60_000)
    used, _ = await reader.memory()
    relief = ServerRelief(reader.clients.of(""))
    assert (await relief.relieve(used, 25 * MB, {TYPE})).keys() == {NO_PODS}
    assert relief.largest.startswith("made-up-"), "the log names one: a busy server is weighed in part"
    assert admin.exists(keys.frame(TYPE, NAME, "large"))


async def test_marks_of_pods_stay_and_stop_nothing(logins: Logins, reader: QueueReader) -> None:
    camera, admin = logins.client("camera"), logins.client("admin")
    nights = [f"night-{number}" for number in range(8)]
    for name in nights:
        logins.consumer(name).load_scripts()
        camera.rpush(keys.legacy_queue(name), bytes(4 * MB))
    assert (await relieve(reader, 25)).keys() == {NO_PODS}
    used, _ = await reader.memory()
    assert used <= LOW * 25 * MB
    assert all(admin.exists(keys.pods_mark(name)) for name in nights), "housekeeping may not remove them"


async def test_a_crowd_of_tiny_types_goes_within_a_second(
    logins: Logins, reader: QueueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relief_module, "_WEIGH_KEYS", 2000)
    monkeypatch.setattr(relief_module, "_RELIEF_S", 30.0)
    camera, admin = logins.client("camera"), logins.client("admin")
    for start in range(0, 50_000, 5000):
        pipe = camera.pipeline(transaction=False)
        for number in range(start, start + 5000):
            pipe.rpush(keys.legacy_queue(f"made-up-{number}"), b"x")
        pipe.execute()
    used, _ = await reader.memory()
    taken = await ServerRelief(reader.clients.of("")).relieve(used, used, {TYPE})
    assert taken[NO_PODS] > 0.9 * (1 - LOW) * used, "most types are not in the sample"
    left, _ = await reader.memory()
    assert left < HIGH * used
    assert admin.exists(keys.tokens(TYPE))


async def test_what_was_taken_is_counted_as_stale(logins: Logins, reader: QueueReader) -> None:
    producer = logins.producer("crowd", SITE, SITE_TYPE)
    for number in range(4):
        assert producer.push(frame("crowd", SITE_TYPE)).pushed, number
    assert await ServerRelief(reader.clients.of("")).relieve(10 * MB, 1, {SITE_TYPE})
    assert not logins.client("admin").keys(f"{keys.queue_prefix(SITE_TYPE)}frame:*")
    await Janitor(reader.clients, RULES, "replica").run(SITE_TYPE)
    batch = logins.consumer(SITE_TYPE).pop(8, 0)
    assert (len(batch.frames), batch.dropped.total()) == (0, 4)


async def test_within_a_type_the_names_that_have_most_lose_frames(logins: Logins, reader: QueueReader) -> None:
    admin = logins.client("admin")
    sizes = {"yard-1": 12, "yard-2": 12, NAME: 5, "door-1": 1}
    for name, count in sizes.items():
        for number in range(count):
            admin.set(keys.frame(TYPE, name, str(number)), bytes(MB), px=60_000)
    assert (await relieve(reader, 40)).keys() == {TYPE}
    left = {name: len(admin.keys(keys.frame(TYPE, name, "*"))) for name in sizes}
    assert left["yard-1"] + left["yard-2"] < 20, "both have the prefix `yard`"
    assert (left[NAME], left["door-1"]) == (6, 1), "one was there before"


async def test_each_server_of_a_cluster_is_relieved() -> None:
    types = ["people", "car", "face", "object"]
    with cluster(2) as servers:
        target = config.RedisTarget(url=Secret(servers[0].url.replace("redis://", "redis+cluster://")))
        reader = QueueReader(target)
        relief = MemoryRelief(reader.clients)
        for infer_type in types:
            with connect(target, key=keys.legacy_queue(infer_type)) as client:
                for number in range(10):
                    client.set(keys.frame(infer_type, NAME, str(number)), bytes(MB), px=60_000)
        assert await relief.look(types) == [], "maxmemory is not set"
        for server in servers:
            with redis.Redis(port=server.port) as client:
                client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 2 * MB)
        found = await relief.look(types)
        assert len(found) == len(servers)
        assert all(sum(each.taken.values()) > 2 * MB for each in found)
        assert relief.pause_s < 1
        await relief.close()
        await reader.close()
