"""Memory is taken from the type that has most of it, before Redis is full, and from no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from elastic_inference.adapters.frame_queue import Janitor, MemoryRelief, QueueReader
from elastic_inference.adapters.frame_queue.relief import HIGH, LOW, NO_PODS
from elastic_inference.domain import keys
from tests.support.redis_logins import RULES, Logins, frame, server_with_users
from tests.support.redis_names import NAME, SITE, SITE_TYPE, TYPE

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
    """With a `maxmemory` of so many MB."""
    used, _ = await reader.memory()
    return dict(await MemoryRelief(reader.clients).relieve(used, megabytes * MB, pods))


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
        camera.set(keys.frame(f"made-up-{number}", NAME, "x"), bytes(MB // 10 + number), px=60_000)
        camera.zadd(keys.sources(f"made-up-{number}"), {NAME: 1})
    admin.set(keys.frame(TYPE, NAME, "large"), bytes(2 * MB), px=60_000)
    used, _ = await reader.memory()
    relief = MemoryRelief(reader.clients)
    assert (await relief.relieve(used, 25 * MB, {TYPE})).keys() == {NO_PODS}
    assert relief.largest == "made-up-199", "the log names it"
    assert admin.exists(keys.frame(TYPE, NAME, "large"))


async def test_what_was_taken_is_counted_as_stale(logins: Logins, reader: QueueReader) -> None:
    producer = logins.producer("crowd", SITE, SITE_TYPE)
    for number in range(4):
        assert producer.push(frame("crowd", SITE_TYPE)).pushed, number
    assert await MemoryRelief(reader.clients).relieve(10 * MB, 1, {SITE_TYPE})
    assert not logins.client("admin").keys(f"{keys.queue_prefix(SITE_TYPE)}frame:*")
    await Janitor(reader.clients, RULES, "replica").run(SITE_TYPE)
    batch = logins.consumer(SITE_TYPE).pop(8, 0)
    assert (len(batch.frames), batch.dropped.total()) == (0, 4)
