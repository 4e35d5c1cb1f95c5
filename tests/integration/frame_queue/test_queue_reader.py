"""What the reader finds in the frame queues, on a real server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
import redis

from elastic_inference.adapters.frame_queue import KnownTypes, QueueReader
from elastic_inference.adapters.frame_queue import queue_reader as reader_module
from elastic_inference.base.config import RedisTarget, Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.queue_bench import TYPE, QueueBench
from tests.support.redis_servers import cluster
from tests.support.waiting import wait_for_async


async def test_reader_sees_types_sources_and_lengths(valkey: EmbeddedValkey) -> None:
    with QueueBench(valkey) as bench:
        reader = QueueReader(bench.target, "test")
        assert await reader.types() == []
        bench.push_legacy("old", 2)
        bench.redis.rpush(keys.legacy_queue("car-fp32"), "x")
        bench.redis.rpush("queue_not:a:type", "x")
        bench.push("cam-1")
        bench.producer("cam-1").report_source("stalled", 14.966, 2, 5)
        assert await reader.types() == ["car-fp32", TYPE]
        assert await reader.length(TYPE) == 3
        (source,) = await reader.sources(TYPE)
        assert (source.name, source.type, source.state) == ("cam-1", TYPE, "stalled")
        assert (source.fps, source.reconnects, source.dropped) == (14.97, 2, 5)
        assert abs(source.last_seen - time.time()) < 60
        assert 0 < bench.redis.pttl(keys.source(TYPE, "cam-1")) <= 10_000
        await reader.close()


async def test_a_reader_that_closes_in_the_middle_of_a_pass_leaves_no_connection_to_a_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader_module, "KEYS_A_STEP", 1)
    with cluster(3) as nodes:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        reader = QueueReader(RedisTarget(url=Secret(f"redis+cluster://{hosts}")), "ei-pass")

        def connected() -> int:
            found = 0
            for node in nodes:
                with redis.Redis(port=node.port) as client:
                    found += sum(each["name"] == "ei-pass" for each in client.client_list())
            return found

        scan = reader.type_scan()
        assert not await scan.step()
        assert connected()
        await reader.close()
        await wait_for_async(lambda: not connected(), 20, "the end of its connections")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The reader's clock: `now` is its time in s."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(reader_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@contextlib.asynccontextmanager
async def known_types(valkey: EmbeddedValkey) -> AsyncIterator[tuple[QueueBench, KnownTypes]]:
    with QueueBench(valkey) as bench:
        queue_reader = QueueReader(bench.target, "test")
        yield bench, KnownTypes(queue_reader)
        await queue_reader.close()


@pytest.mark.parametrize(("keys_in_redis", "found_after_s"), [(100, 1), (20_000, 10)])
async def test_a_new_type_is_found_within_a_second_and_with_many_keys_within_ten(
    valkey: EmbeddedValkey, clock: SimpleNamespace, keys_in_redis: int, found_after_s: int
) -> None:
    async with known_types(valkey) as (bench, types):
        bench.redis.mset({f"other-{number}": 1 for number in range(keys_in_redis)})
        assert await types.refresh()
        assert types.names == ()
        bench.push("cam-1")
        for second in range(1, found_after_s + 1):
            clock.now = 100.0 + second
            assert types.names == ()
            await types.refresh()
        assert types.names == (TYPE,)


async def test_a_type_stays_known_while_its_legacy_queue_is_occasionally_empty(
    valkey: EmbeddedValkey, clock: SimpleNamespace
) -> None:
    async with known_types(valkey) as (bench, types):
        bench.push_legacy("old")
        await types.refresh()
        bench.redis.flushall()
        clock.now += 9.5
        assert await types.refresh()
        assert types.names == (TYPE,)
        clock.now += 1
        await types.refresh()
        assert types.names == ()
