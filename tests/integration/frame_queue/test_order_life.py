"""How long the number of a stream's last frame is kept: numbers have no gap, and made-up names take little memory."""

from __future__ import annotations

import pytest

from elastic_inference.domain import keys
from tests.support.queue_bench import TYPE, QueueBench
from tests.support.waiting import wait_for

LIFE_MS = 60_000


def let_pass(bench: QueueBench, name: str, ms: int) -> None:
    """As if this time had passed for the stream's counter."""
    key = keys.order(TYPE, name)
    left_ms = bench.redis.pttl(key)
    assert left_ms > 0, "the counter is gone"
    if left_ms <= ms:
        bench.redis.delete(key)
    else:
        bench.redis.pexpire(key, left_ms - ms)


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("legacy_every", [0, 5])
def test_a_stream_with_a_frame_a_minute_keeps_its_numbers(bench: QueueBench, batch: int, legacy_every: int) -> None:
    count = 0
    for turn in range(1, 80):
        bench.push_legacy("cam-1") if legacy_every and turn % legacy_every == 0 else bench.push("cam-1", min(batch, 4))
        count += len(bench.pop(batch).frames)
        let_pass(bench, "cam-1", LIFE_MS - 1000)
    orders = bench.orders["cam-1"]
    assert orders == list(range(orders[0], orders[0] + count))


def test_a_name_earns_a_longer_life_of_its_counter(bench: QueueBench) -> None:
    for _ in range(16):
        bench.push("cam-1")
        bench.pop()
        assert LIFE_MS - 10_000 < bench.redis.pttl(keys.order(TYPE, "cam-1")) <= LIFE_MS
    for _ in range(40):
        bench.push("cam-1")
        bench.pop()
        assert LIFE_MS < bench.redis.pttl(keys.order(TYPE, "cam-1")) <= 17 * LIFE_MS


def test_numbers_of_a_lost_counter_are_higher(bench: QueueBench) -> None:
    for _ in range(3):
        bench.push("cam-1", 4)
        bench.pop()
        bench.redis.delete(keys.order(TYPE, "cam-1"))
        # A counter starts at a multiple of 1024 us: within that time two would be the same.
        began_us = _clock_us(bench)
        wait_for(lambda began_us=began_us: _clock_us(bench) - began_us > 1024, 10, "the next millisecond", every_s=0)
    orders = bench.orders["cam-1"]
    assert orders == sorted(set(orders))


def _clock_us(bench: QueueBench) -> int:
    seconds, us = bench.redis.time()
    return int(seconds) * 1_000_000 + int(us)
