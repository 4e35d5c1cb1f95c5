"""The looks at Redis' memory: what they take is counted and logged, and how soon the next one comes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue.relief import PAUSE_S, Relief, pause_after
from elastic_inference.base.metrics import HousekeepingMetrics
from elastic_inference.flows.housekeeping.memory_watch import MemoryWatch

MB = 1_000_000
GB = 1000 * MB


class Looks:
    """Takes 5 MB at the first look; the others fail in turn. The last one stops the watch."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.pause_s = 0.0
        self.closed = 0
        self.seen: list[Any] = []
        self.errors: list[Exception] = [OSError("broken"), ValueError("a bug")]

    async def look(self, with_pods: Any) -> list[Relief]:
        self.seen.append(with_pods)
        if len(self.seen) == 1:
            self.closed = 3
            return [Relief(90 * MB, 100 * MB, {"site7-people": 5 * MB}, "site7-people")]
        if self.errors:
            raise self.errors.pop(0)
        self.stop.set()
        return []  # as many were closed


async def test_what_is_taken_is_counted_and_no_error_ends_the_watch(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.flows.housekeeping.memory_watch.PAUSE_S", 0.01)
    looks, registry = Looks(), CollectorRegistry()
    watch = MemoryWatch(cast(Any, looks), lambda: {"people"}, HousekeepingMetrics(registry))
    with caplog.at_level(logging.WARNING):
        await watch.run(looks.stop)
    assert looks.seen == [{"people"}] * 4
    taken = registry.get_sample_value("ei_queue_relieved_bytes_total", {"infer_type": "site7-people"})
    assert taken == 5 * MB
    assert registry.get_sample_value("ei_redis_clients_closed_total") == 6
    assert "removed 4 MiB of type site7-people, which uses most of it" in caplog.text
    assert "checking the memory failed" in caplog.text
    assert "broken" not in caplog.text, "the rounds say it"


def test_the_next_look_comes_before_a_link_of_10_gbit_could_fill_the_rest() -> None:
    limit = 768 * MB
    assert pause_after(0, 8 * GB) == PAUSE_S
    for used in range(0, 84 * limit // 100, limit // 10):
        assert used + pause_after(used, limit) * 1.25 * GB < 0.92 * limit
    assert pause_after(limit, limit) == pytest.approx(0.05)
