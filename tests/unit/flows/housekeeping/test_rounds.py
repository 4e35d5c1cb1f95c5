"""The rounds over invented types: bounded, fair where Redis is slow, and nothing left of a type that is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import reader
from elastic_inference.adapters.frame_queue.reader import MAX_TYPES
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import HousekeepingMetrics
from elastic_inference.flows.housekeeping.rounds import Housekeeping


class Queues:
    """Reader, janitor and registry in one: types, lengths, and which of them the janitor cleaned."""

    def __init__(self, types: list[str]) -> None:
        self.found = types
        self.cleaned: list[str] = []
        self.fails_after: int | None = None
        self.lifecycle = Lifecycle("housekeeping")

    async def types(self) -> list[str]:
        return self.found

    async def run(self, infer_type: str) -> bool:
        if self.fails_after is not None and len(self.cleaned) >= self.fails_after:
            raise TimeoutError
        self.cleaned.append(infer_type)
        return True

    async def length(self, _infer_type: str) -> int:
        return 1

    async def memory(self) -> tuple[int, int]:
        return 1, 2

    async def workers(self) -> list[Any]:
        return []


def make(queues: Queues, registry: CollectorRegistry | None = None) -> Housekeeping:
    fake = cast(Any, queues)
    metrics = HousekeepingMetrics(registry or CollectorRegistry())
    return Housekeeping(
        fake, fake, fake, metrics=metrics, lifecycle=queues.lifecycle, explain=lambda error, part: f"{part}: {error}"
    )


@pytest.fixture(autouse=True)
def read_types_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "TYPES_EVERY_S", 0.0)


async def test_types_are_bounded_and_the_known_ones_stay(caplog: pytest.LogCaptureFixture) -> None:
    queues = Queues(["people"])
    housekeeping = make(queues)
    await housekeeping._clean_up()
    queues.found = [f"a{number}" for number in range(1000)] + ["people"]
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            queues.cleaned.clear()
            await housekeeping._clean_up()
            assert len(set(queues.cleaned)) == len(queues.cleaned) == MAX_TYPES
            assert "people" in queues.cleaned
    assert [record.message for record in caplog.records] == ["the queue has 1001 inference types: only 256 are served"]


async def test_a_round_continues_where_the_last_was_cut_off() -> None:
    queues = Queues(["a", "b", "c", "d"])
    housekeeping = make(queues)
    seen: list[str] = []
    for _ in range(3):
        queues.cleaned.clear()
        queues.fails_after = 3
        assert not await housekeeping._ask("queue", housekeeping._clean_up)
        seen += queues.cleaned
    assert seen == ["a", "b", "c", "d", "a", "b", "c", "d", "a"]


async def test_the_labels_go_with_the_type() -> None:
    registry = CollectorRegistry()
    queues = Queues(["face", "people"])
    housekeeping = make(queues, registry)
    await housekeeping._clean_up()
    queues.found = ["people"]
    await housekeeping._clean_up()
    for name in ("ei_queue_length", "ei_janitor_runs_total"):
        assert registry.get_sample_value(name, {"infer_type": "people"}) is not None
        assert registry.get_sample_value(name, {"infer_type": "face"}) is None


async def test_a_bug_in_a_round_does_not_end_the_rounds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = Queues(["people"])
    housekeeping = make(queues)
    stop = asyncio.Event()
    rounds = 0

    async def fail_once(now: float) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            stop.set()
            return
        raise KeyError("bug")

    monkeypatch.setattr(housekeeping, "_round", fail_once)
    began = time.monotonic()
    await housekeeping.run(stop)
    assert rounds == 2
    assert time.monotonic() - began < 5
    assert [record.message for record in caplog.records] == ["a round failed (logged once a minute)"]


async def test_rounds_that_never_succeed_fail_liveness(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = Queues(["people"])
    housekeeping = make(queues)
    stop = asyncio.Event()

    async def fail(now: float) -> None:
        stop.set()
        raise KeyError("bug")

    monkeypatch.setattr(housekeeping, "_round", fail)
    monkeypatch.setattr("elastic_inference.flows.housekeeping.rounds.BEAT_LIMIT_S", 0.0)
    await housekeeping.run(stop)
    assert set(queues.lifecycle.stuck()) == {"rounds"}
