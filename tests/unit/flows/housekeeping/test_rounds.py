"""The rounds over invented types: bounded, fair when Redis is slow, and without figures of removed types."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError, NoPermissionError, ResponseError

from elastic_inference.adapters.frame_queue import queue_reader
from elastic_inference.adapters.frame_queue.janitor import JanitorRun
from elastic_inference.adapters.frame_queue.queue_reader import MAX_TYPES
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import HousekeepingMetrics
from elastic_inference.domain.errors import DropReason
from elastic_inference.flows.housekeeping import rounds
from elastic_inference.flows.housekeeping.rounds import Housekeeping


class Queues:
    """Reader, janitor and registry in one: types, lengths, and which of them the janitor cleaned."""

    def __init__(self, types: list[str]) -> None:
        self.found = types
        self.cleaned: list[str] = []
        self.looked: list[tuple[str, int, list[str]]] = []
        self.refused: set[str] = set()
        self.shortened = 0
        self.fails_after: int | None = None
        self.answers = True
        self.pods: list[str] = []
        self.lifecycle = Lifecycle("housekeeping")

    def type_scan(self) -> Pass:
        return Pass(self)

    async def read_found(self) -> list[str]:
        return self.found

    async def sweep(self, types: Any, with_pods: Any, had_pods: Any) -> dict[str, list[str]]:
        return {"people": ["gate-1"]}

    async def ping(self) -> None:
        if not self.answers:
            raise TimeoutError

    def forget(self, _infer_type: str) -> None:
        pass

    async def run(self, infer_type: str, names: int, found: Any, *, unserved: bool) -> JanitorRun:
        self.looked.append((infer_type, names, list(found)))
        if infer_type in self.refused:
            raise ResponseError("OOM command not allowed when used memory > 'maxmemory'.")
        if self.fails_after is not None and len(self.cleaned) >= self.fails_after:
            raise TimeoutError
        self.cleaned.append(infer_type)
        return JanitorRun(Counter({DropReason.STALE: 3}) if unserved else Counter())

    async def length(self, _infer_type: str) -> int:
        return 1

    async def memory(self) -> tuple[int, int]:
        return 1, 2

    async def connections(self) -> tuple[int, int]:
        return 3, 4

    others_closed = 0

    async def close_some(self, places: int) -> int:
        return places

    async def workers(self) -> list[Any]:
        return [SimpleNamespace(type=name) for name in self.pods]

    async def shorten_watches(self) -> None:
        self.shortened += 1


@dataclass
class Pass:
    """Finds all types in one step."""

    queues: Queues
    found: set[str] = field(default_factory=set)
    had_pods: set[str] = field(default_factory=set)
    walked: int = 0

    async def step(self, _preferred: Any) -> bool:
        self.found = set(await self.queues.read_found())
        return True

    async def close(self) -> None:
        pass


def make(queues: Queues, registry: CollectorRegistry | None = None) -> Housekeeping:
    fake = cast(Any, queues)
    metrics = HousekeepingMetrics(registry or CollectorRegistry())
    return Housekeeping(
        *[fake] * 4,
        strangers=fake,
        metrics=metrics,
        lifecycle=queues.lifecycle,
        explain=lambda error, part: f"{part}: {error}",
    )


@pytest.fixture(autouse=True)
def read_types_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_reader, "TYPES_EVERY_S", 0.0)
    # A busy machine must not cut a round short.
    monkeypatch.setattr(rounds, "JANITORS_S", 60.0)
    monkeypatch.setattr(rounds, "STEP_LIMIT_S", 60.0)


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
    (line,) = (record.message for record in caplog.records)
    assert line.startswith("the queue has 1001 inference types: only 256 are served at a time")


async def test_a_round_continues_where_the_last_was_cut_off() -> None:
    queues = Queues(["a", "b", "c", "d"])
    housekeeping = make(queues)
    seen: list[str] = []
    for _ in range(3):
        queues.cleaned.clear()
        queues.fails_after = 3
        assert await housekeeping._ask("queue", housekeeping._clean_up)
        seen += queues.cleaned
    assert seen == ["a", "b", "c", "d", "a", "b", "c", "d", "a"]


async def test_a_new_type_is_cleaned_first_and_moves_nobody_back() -> None:
    queues = Queues(["a", "b", "c", "d"])
    housekeeping = make(queues)
    await housekeeping._ask("queue", housekeeping._clean_up)
    seen: list[str] = []
    for new in (["x"], ["x", "y"]):
        queues.found = ["a", "b", "c", "d", *new]
        queues.cleaned.clear()
        queues.fails_after = 2
        await housekeeping._ask("queue", housekeeping._clean_up)
        seen += queues.cleaned
    assert seen == ["x", "a", "y", "b"]


async def test_types_with_pods_come_first_whatever_is_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = Queues(["m", "n"])
    queues.pods = ["m", "n"]
    housekeeping = make(queues)
    await housekeeping._count_workers()
    await housekeeping._clean_up()
    seen = []
    for number in range(3):
        # Nothing but new types in each round, of which Redis is too slow to clean any.
        queues.found = ["m", "n", *(f"a{number}-{each}" for each in range(50))]
        queues.cleaned.clear()
        queues.fails_after = 1
        await housekeeping._ask("queue", housekeeping._clean_up)
        seen += queues.cleaned
    assert seen == ["m", "n", "m"]
    monkeypatch.setattr(rounds, "JANITORS_S", 0.2)
    queues.fails_after = None
    slow = queues.run

    async def run(infer_type: str, names: int, found: Any, *, unserved: bool) -> JanitorRun:
        await asyncio.sleep(0.11 if infer_type in queues.pods else 0)
        return await slow(infer_type, names, found, unserved=unserved)

    monkeypatch.setattr(queues, "run", run)
    queues.cleaned.clear()
    await housekeeping._clean_up()
    assert [each for each in queues.cleaned if each in queues.pods] == ["n"], "they take half of a round"
    assert len(queues.cleaned) > 1


async def test_a_type_that_takes_too_long_does_not_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    queues = Queues(["a", "b", "c"])
    housekeeping = make(queues)

    async def length(infer_type: str) -> int:
        if infer_type == "a":
            raise TimeoutError
        return 1

    monkeypatch.setattr(queues, "length", length)
    for _ in range(4):
        await housekeeping._ask("queue", housekeeping._clean_up)
    assert queues.cleaned.count("b") >= 2
    assert queues.cleaned.count("c") >= 2


async def test_the_round_that_counts_the_pods_also_shortens_watches() -> None:
    queues = Queues([])
    housekeeping = make(queues)
    for now_s in (100.0, 101.0, 110.0):
        await housekeeping._round(now_s)
    assert queues.shortened == 2


@pytest.mark.parametrize("slow", ["memory", "read_found", "sweep"])
@pytest.mark.parametrize("answers", [True, False], ids=["Redis answers", "Redis hangs"])
async def test_a_step_that_takes_too_long_stops_no_other_and_is_no_outage(
    monkeypatch: pytest.MonkeyPatch, slow: str, answers: bool
) -> None:
    registry = CollectorRegistry()
    queues = Queues(["people"])
    queues.answers = answers
    housekeeping = make(queues, registry)
    housekeeping._types.names = ("people",)
    monkeypatch.setattr(rounds, "STEP_LIMIT_S", 0.05)

    async def hang(*_: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(queues, slow, hang)
    assert await housekeeping._ask("queue", housekeeping._clean_up) == answers
    assert queues.cleaned == (["people"] if answers else [])
    assert registry.get_sample_value("ei_redis_up", {"part": "queue"}) == answers


async def test_invented_types_do_not_crowd_out_those_with_pods() -> None:
    registry = CollectorRegistry()
    queues = Queues([f"a{number}" for number in range(300)] + ["people"])
    queues.pods = ["people"]
    housekeeping = make(queues, registry)
    for _ in range(2):
        queues.cleaned.clear()
        await housekeeping._clean_up()
        await housekeeping._count_workers()
    assert len(queues.cleaned) == MAX_TYPES
    assert "people" in queues.cleaned
    assert registry.get_sample_value("ei_workers", {"infer_type": "people"}) == 1


async def test_a_type_that_redis_refuses_is_skipped_and_shown() -> None:
    registry = CollectorRegistry()
    queues = Queues(["a", "b", "people"])
    queues.refused = {"a"}
    housekeeping = make(queues, registry)
    assert await housekeeping._ask("queue", housekeeping._clean_up)
    assert queues.cleaned == ["b", "people"]
    refused = [registry.get_sample_value("ei_janitor_refused", {"infer_type": name}) for name in queues.found]
    assert refused == [1, 0, 0]
    assert registry.get_sample_value("ei_redis_up", {"part": "queue"}) == 1
    assert registry.get_sample_value("ei_redis_used_memory_bytes") == 1
    assert registry.get_sample_value("ei_redis_connected_clients") == 3
    assert registry.get_sample_value("ei_redis_maxclients") == 4
    assert queues.looked[2] == ("people", 1024, ["gate-1"])
    queues.refused = set()
    await housekeeping._clean_up()
    assert registry.get_sample_value("ei_janitor_refused", {"infer_type": "a"}) == 0


async def test_many_types_share_the_work_of_a_round() -> None:
    queues = Queues([f"a{number}" for number in range(200)])
    await make(queues)._clean_up()
    assert {names for _, names, _ in queues.looked} == {64}


async def test_a_refused_read_leaves_the_memory_known(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    queues = Queues(["people"])
    housekeeping = make(queues, registry)
    assert await housekeeping._ask("queue", housekeeping._clean_up)

    async def refuse() -> list[str]:
        raise ResponseError("NOPERM")

    monkeypatch.setattr(queues, "read_found", refuse)
    assert not await housekeeping._ask("queue", housekeeping._clean_up)
    assert registry.get_sample_value("ei_redis_used_memory_bytes") == 1


async def test_the_labels_are_removed_with_the_type() -> None:
    registry = CollectorRegistry()
    queues = Queues(["face", "people"])
    housekeeping = make(queues, registry)
    await housekeeping._clean_up()
    queues.found = ["people"]
    await housekeeping._clean_up()
    for name in ("ei_queue_length", "ei_janitor_runs_total"):
        assert registry.get_sample_value(name, {"infer_type": "people"}) is not None
        assert registry.get_sample_value(name, {"infer_type": "face"}) is None


async def test_drops_are_counted_here_only_while_it_is_known_that_no_pod_claims_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = CollectorRegistry()
    queues = Queues(["face", "people"])
    queues.pods = ["people"]
    housekeeping = make(queues, registry)

    def dropped(infer_type: str) -> float | None:
        labels = {"infer_type": infer_type, "reason": "stale"}
        return registry.get_sample_value("ei_frames_dropped_total", labels)

    await housekeeping._clean_up()
    assert dropped("face") is None, "the pods have not been read yet"
    assert await housekeeping._ask("broker", housekeeping._count_workers)
    await housekeeping._clean_up()
    assert (dropped("face"), dropped("people")) == (3, None)

    async def unavailable() -> list[Any]:
        raise ConnectionError

    monkeypatch.setattr(queues, "workers", unavailable)
    assert not await housekeeping._ask("broker", housekeeping._count_workers)
    await housekeeping._clean_up()
    assert dropped("face") == 3


async def test_a_bug_in_a_round_does_not_end_the_rounds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = Queues(["people"])
    housekeeping = make(queues)
    stop = asyncio.Event()
    begun = 0

    async def fail_once(now: float) -> None:
        nonlocal begun
        begun += 1
        if begun < 2:
            raise KeyError("bug")
        stop.set()

    monkeypatch.setattr(housekeeping, "_round", fail_once)
    began = time.monotonic()
    await housekeeping.run(stop)
    assert begun == 2
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


async def test_a_refusal_is_not_an_outage() -> None:
    registry = CollectorRegistry()
    queues = Queues(["a"])
    housekeeping = make(queues, registry)

    def value(name: str, part: str) -> float | None:
        return registry.get_sample_value(name, {"part": part})

    async def no_right() -> None:
        raise NoPermissionError("NOPERM this user has no permissions to run the 'zrangebyscore' command")

    async def unavailable() -> None:
        raise ConnectionError("refused")

    for part in ("queue", "broker"):
        assert not await housekeeping._ask(part, no_right)
        assert (value("ei_redis_up", part), value("ei_redis_refused", part)) == (1, 1)
        assert part in queues.lifecycle.missing()
        assert not await housekeeping._ask(part, unavailable)
        assert (value("ei_redis_up", part), value("ei_redis_refused", part)) == (0, 0)
        assert await housekeeping._ask(part, lambda: asyncio.sleep(0))
        assert (value("ei_redis_up", part), value("ei_redis_refused", part)) == (1, 0)
