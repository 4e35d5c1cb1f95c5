"""The housekeeping over made-up types: bounded, fair where Redis is slow, and nothing left of what has gone."""

from __future__ import annotations

import logging
import time
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from elastic_inference.base.metrics import GatewayMetrics
from elastic_inference.flows.gateway import pool_state
from elastic_inference.flows.gateway.pool_state import MAX_TYPES, PoolState


class Redis:
    """Types, queues and a clock, as the state asks for them."""

    def __init__(self, types: list[str]) -> None:
        self.found = types
        self.cleaned: list[str] = []
        self.fails_after: int | None = None

    async def types(self) -> list[str]:
        return self.found

    async def run_janitor(self, infer_type: str, _holder: str) -> bool:
        if self.fails_after is not None and len(self.cleaned) >= self.fails_after:
            raise TimeoutError
        self.cleaned.append(infer_type)
        return True

    async def length(self, _infer_type: str) -> int:
        return 1

    async def info(self, _section: str) -> dict[str, int]:
        return {"used_memory": 1, "maxmemory": 2}

    async def time(self) -> tuple[int, int]:
        return int(time.time()), 0


class Silent:
    def beat(self) -> None:
        pass

    def degraded(self, part: str, error: Exception | None) -> None:
        pass


def make(redis: Redis, registry: CollectorRegistry | None = None) -> PoolState:
    fake = cast(Any, redis)
    metrics = GatewayMetrics(registry or CollectorRegistry())
    return PoolState(fake, fake, fake, metrics=metrics, holder="gateway-1", report=Silent())


@pytest.fixture(autouse=True)
def ask_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_state, "TYPES_EVERY_S", 0.0)


async def test_types_are_bounded_and_the_known_ones_stay(caplog: pytest.LogCaptureFixture) -> None:
    redis = Redis(["people"])
    state = make(redis)
    await state._housekeeping()
    redis.found = [f"a{number}" for number in range(1000)] + ["people"]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            redis.cleaned.clear()
            await state._housekeeping()
            assert len(set(redis.cleaned)) == len(redis.cleaned) == MAX_TYPES
            assert "people" in redis.cleaned
    assert [record.message for record in caplog.records] == [
        "1001 inference types at the queue, 256 are looked after: the rest waits"
    ]


async def test_a_round_goes_on_where_the_last_was_cut_off() -> None:
    redis = Redis(["a", "b", "c", "d"])
    state = make(redis)
    seen: list[str] = []
    for _ in range(3):
        redis.cleaned.clear()
        redis.fails_after = 3
        assert await state._ask("queue", state._housekeeping) is None
        seen += redis.cleaned
    assert seen == ["a", "b", "c", "d", "a", "b", "c", "d", "a"]


async def test_the_labels_go_with_the_type() -> None:
    registry = CollectorRegistry()
    redis = Redis(["face", "people"])
    state = make(redis, registry)
    await state._housekeeping()
    redis.found = ["people"]
    await state._housekeeping()
    for name in ("ei_queue_length", "ei_janitor_runs_total"):
        assert registry.get_sample_value(name, {"infer_type": "people"}) is not None
        assert registry.get_sample_value(name, {"infer_type": "face"}) is None
