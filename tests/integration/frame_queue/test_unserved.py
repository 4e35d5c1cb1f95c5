"""Drops of a type without pods: housekeeping claims and counts them, once, and never those of a pod."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from elastic_inference.adapters.frame_queue import Janitor, QueueReader
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from tests.support.queue_bench import TYPE, QueueBench


def drop_fps(bench: QueueBench) -> float:
    """What the gateway reads."""

    async def read() -> float:
        reader = QueueReader(bench.target)
        try:
            return await reader.unserved_drop_fps(TYPE)
        finally:
            await reader.close()

    return asyncio.run(read())


def advance(bench: QueueBench, seconds: float) -> None:
    """Makes the last claim older, as if time had passed."""
    bench.redis.hincrby(keys.dropped(TYPE), "claimed", -int(seconds * 1e6))


def test_every_drop_without_a_pod_is_counted_once(bench: QueueBench) -> None:
    bench.push("cam-1", 10)
    assert bench.run_janitor(unserved=True) == 0, "a pod may have just started: the first look leaves a mark"
    assert bench.unclaimed_drops()["queue_full"] == 6
    assert bench.run_janitor(unserved=True) == 6
    assert bench.run_janitor(unserved=True) == 0
    bench.make_stale("cam-1", 3)
    assert bench.run_janitor(unserved=True) == 3
    assert bench.dropped == {DropReason.QUEUE_FULL: 6, DropReason.STALE: 3}
    bench.check_account()


def test_a_pod_that_pops_claims_its_own_drops(bench: QueueBench) -> None:
    bench.push("cam-1", 10)
    bench.run_janitor(unserved=True)
    assert bench.pop(1).dropped.total() == 6
    bench.push("cam-1", 10)
    assert bench.run_janitor(unserved=True) == 0, "the pod has taken the mark too"
    assert bench.pop(16).dropped.total() == 9
    assert not bench.redis.exists(keys.dropped(TYPE))
    bench.check_account()


def test_a_type_with_pods_keeps_its_drops_for_them(bench: QueueBench) -> None:
    bench.push("cam-1", 10)
    assert [bench.run_janitor() for _ in range(3)] == [0, 0, 0]
    assert bench.pop(16).dropped.total() == 6


def test_the_rate_is_what_is_dropped_a_second(bench: QueueBench) -> None:
    bench.push("cam-1", 500)
    for _ in range(2):
        bench.run_janitor(unserved=True)
    assert drop_fps(bench) == 0, "those of a time before anybody looked are no rate"
    for _ in range(3):
        bench.push("cam-1", 15)
        advance(bench, 1)
        assert bench.run_janitor(unserved=True) == 15
        assert drop_fps(bench) == pytest.approx(15, rel=0.2), "between two looks of a test some time passes too"
    for _ in range(4):
        bench.push("cam-1", 90)
        advance(bench, 5)
        bench.run_janitor(unserved=True)
    assert 15 < drop_fps(bench) <= 18.1
    advance(bench, 4)
    assert drop_fps(bench) == 0, "nothing has been dropped for seconds"
    advance(bench, 60)
    bench.run_janitor(unserved=True)
    assert not bench.redis.exists(keys.dropped(TYPE))


def test_a_slow_camera_has_a_rate_too(bench: QueueBench) -> None:
    bench.push("cam-1", 5)
    for _ in range(2):
        bench.run_janitor(unserved=True)
    for _ in range(3):
        advance(bench, 4)
        assert bench.run_janitor(unserved=True) == 0
        bench.push("cam-1", 1)
        advance(bench, 1)
        assert bench.run_janitor(unserved=True) == 1
        advance(bench, 4)
        assert drop_fps(bench) == pytest.approx(0.2, rel=0.25)
        advance(bench, -4)


def _foreign_string(bench: QueueBench) -> None:
    bench.redis.set(keys.dropped(TYPE), "x" * 1000)


def _huge_fields(bench: QueueBench) -> None:
    bench.redis.hset(keys.dropped(TYPE), mapping={"rate": "9" * 5_000_000, "claimed": "x", "queue_full": "6"})


def _from_the_future(bench: QueueBench) -> None:
    bench.redis.hset(keys.dropped(TYPE), mapping={"rate": 10**15, "claimed": 2**62, "stale": -5, "queue_full": 6})


@pytest.mark.parametrize("write", [_foreign_string, _huge_fields, _from_the_future])
def test_what_others_write_there_does_no_harm(bench: QueueBench, write: Callable[[QueueBench], None]) -> None:
    write(bench)
    assert drop_fps(bench) == 0
    for _ in range(3):
        bench.push("cam-1", 10)
        bench.run_janitor(unserved=True)
        assert drop_fps(bench) <= 20_000
    bench.push("cam-1", 10)
    assert bench.run_janitor(unserved=True) == 10
    write(bench)
    bench.push("cam-1", 10)
    assert len(bench.pop(16).frames) == 4


def test_forged_drops_count_as_many_as_a_queue_can_drop(bench: QueueBench, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        reader = QueueReader(bench.target)
        janitor = Janitor(reader.clients, bench.rules, "test")
        before = 0.0
        for number in (1, 1, 1, 1_000_000, 1_000_000):
            bench.redis.hincrby(keys.dropped(TYPE), "queue_full", number)
            bench.redis.delete(keys.janitor_lock(TYPE))
            ran = await janitor.run(TYPE, unserved=True)
            now = time.monotonic()
            assert ran
            assert ran.claimed.total() <= 20_000 * max(1.0, now - before)
            before = now - 0.5  # the run itself
        await reader.close()

    asyncio.run(run())
    (line,) = (each for each in caplog.messages if "were not counted" in each)
    assert line.startswith("type people: 980000 drops were not counted")
