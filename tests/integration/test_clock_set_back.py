"""Redis' clock is set back by an hour: what was written before lies in the future, and its keys live on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis
import redis.asyncio as aioredis

from elastic_inference.adapters.stream_broker import ResultPublisher, StreamRegistry
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.flows.relay.known_streams import KnownStreams
from tests.support.gateway import JPEG, Pool, a_result

HOUR_MS = 3_600_000
STREAM = "gate-1:people:inferred"


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as client:
        yield client


@pytest.fixture
async def async_client(valkey: EmbeddedValkey) -> AsyncIterator[aioredis.Redis]:
    async with aioredis.Redis(port=valkey.port) as client:
        yield client


@pytest.fixture
def registry(async_client: aioredis.Redis) -> StreamRegistry:
    return StreamRegistry(async_client)


def set_back(client: redis.Redis) -> None:
    """Leaves the keys as a clock that is now an hour earlier would."""
    for index in (keys.STREAMS, keys.WORKERS, keys.sources("people")):
        for member in client.zrange(index, 0, -1):
            client.zincrby(index, HOUR_MS, member)
    if client.exists(keys.stream_info(STREAM)):
        client.hincrby(keys.stream_info(STREAM), "seen_ms", HOUR_MS)
    for key in client.scan_iter():
        if (left_ms := client.pttl(key)) > 0:
            client.pexpire(key, left_ms + HOUR_MS)


async def test_streams_and_pods_of_before_have_ended(client: redis.Redis, registry: StreamRegistry) -> None:
    Pool(client).publish()
    assert len(await registry.streams()) == len(await registry.workers()) == 1
    assert await registry.exists(STREAM)
    set_back(client)
    assert client.pttl(keys.stream_info(STREAM)) > HOUR_MS, "Redis keeps the hash"
    assert await registry.streams() == await registry.workers() == []
    assert not await registry.exists(STREAM)
    Pool(client).publish()
    assert len(await registry.streams()) == len(await registry.workers()) == 1
    assert await registry.exists(STREAM)


async def test_a_clock_set_back_by_less_than_a_slow_stream_lives(client: redis.Redis, registry: StreamRegistry) -> None:
    Pool(client).publish()
    client.hincrby(keys.stream_info(STREAM), "seen_ms", 120_000)
    client.zincrby(keys.STREAMS, 120_000, STREAM)
    assert await registry.streams() == [], (
        "its score could be that of a stream of a frame in 40 s; the time last seen says"
    )


def test_a_pod_removes_what_lies_in_the_future(client: redis.Redis) -> None:
    Pool(client, "gone", "face-int8").publish()
    set_back(client)
    Pool(client).publish()
    assert client.zrange(keys.STREAMS, 0, -1) == [STREAM.encode()]
    assert client.zrange(keys.WORKERS, 0, -1) == [b"people:pod-1"]


async def test_a_producer_of_before_pushes_no_longer(
    client: redis.Redis, async_client: aioredis.Redis, registry: StreamRegistry
) -> None:
    known = KnownStreams(registry, async_client)
    Pool(client).push()
    assert await known.exists(STREAM)
    set_back(client)
    assert not await known.exists(STREAM)


async def test_a_watch_of_before_ends_in_ten_seconds(client: redis.Redis, registry: StreamRegistry) -> None:
    Pool(client).publish()
    Pool(client, "gate-2").publish()
    client.set(keys.watch(STREAM), 1, px=10_000)
    client.set(keys.watch("gate-2:people:inferred"), 1, px=5_000)
    client.pexpire(keys.watch(STREAM), 10_000 + HOUR_MS)
    await registry.shorten_watches()
    assert 0 < client.pttl(keys.watch(STREAM)) <= 10_000
    assert 0 < client.pttl(keys.watch("gate-2:people:inferred")) <= 5_000, "a fresh one keeps its lifetime"
    assert client.exists(keys.watch("gate-3:people:inferred")) == 0
    client.delete(keys.STREAMS)
    client.set(keys.STREAMS, "foreign")
    await registry.shorten_watches()


def test_a_pod_sees_with_its_next_report_that_the_clock_was_set(client: redis.Redis) -> None:
    now_s = 1000.0
    output = ResultPublisher(client, "people", "pod-1", 100, monotonic=lambda: now_s)

    def ahead_ms() -> float:
        output.report_worker(1, 0, 0, capacity_fps=20.0, device="CPU", model="m", precision="FP32")
        score = client.zscore(keys.WORKERS, "people:pod-1")
        assert score is not None
        return float(score) - client.time()[0] * 1000

    assert abs(ahead_ms()) < 5000
    now_s += 9.0  # the pod's clock went on, that of Redis did not
    assert ahead_ms() > 5000
    assert abs(ahead_ms()) < 5000
    output.publish([(a_result(1), JPEG)])
    seen_ms = client.hget(keys.stream_info(STREAM), "seen_ms")
    assert seen_ms is not None
    assert abs(int(seen_ms) - client.time()[0] * 1000) < 5000
