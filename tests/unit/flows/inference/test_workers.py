"""The workers alone: results, every kind of broken frame, and frames given up in a drain."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.support.pod_parts import STREAM, IdleEngine, Parts
from tests.support.results import PERSON
from tests.support.waiting import wait_for

from elastic_inference.domain.errors import InvalidFrameError, InvalidReason, StaleFrameError
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import Detection
from elastic_inference.domain.sequence import Tombstone
from elastic_inference.flows.inference.result_builder import PodInfo, ResultBuilder
from elastic_inference.flows.inference.result_sender import LOST
from elastic_inference.flows.inference.workers import STUCK_S, WorkerPool


class ScriptedDetector:
    """Finds a person, or raises what `errors` has for the frame's `seq`. Waits while `paused`."""

    def __init__(self, errors: dict[int, Exception] | None = None) -> None:
        self.errors = errors or {}
        self.damaged = False
        self.go = threading.Event()
        self.go.set()

    def infer(self, frame: Frame) -> list[Detection]:
        assert self.go.wait(30)
        if error := self.errors.get(frame.seq or 0):
            raise error
        return [PERSON]


def pool(parts: Parts, *detectors: ScriptedDetector, fresh_s: float = float("inf")) -> WorkerPool:
    engine: Any = IdleEngine()
    results = ResultBuilder(PodInfo("face", "pod", "model", "FP32"), engine, lambda _: 5000.0)
    return WorkerPool(detectors, results, parts.context, parts.sender, fresh_s)


@contextmanager
def held_up(parts: Parts, *orders: int) -> Iterator[tuple[WorkerPool, ScriptedDetector]]:
    """One worker that waits in the first of these frames, until `detector.go` is set or the block ends."""
    detector = ScriptedDetector()
    detector.go.clear()
    workers = pool(parts, detector)
    with parts:
        workers.start()
        parts.add(*orders)
        wait_for(lambda: parts.tasks.waiting == len(orders) - 1, what="the first frame to be begun")
        yield workers, detector
        detector.go.set()
        workers.join()


def test_each_frame_becomes_a_result() -> None:
    parts = Parts(ahead=16)
    workers = pool(parts, ScriptedDetector(), ScriptedDetector())
    with parts:
        workers.start()
        parts.add(*range(1, 11))
        workers.join()
    assert parts.publisher.orders == list(range(1, 11))
    assert workers.inferred == 10
    assert not workers.stuck(time.monotonic())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidFrameError(InvalidReason.TRUNCATED, "half of it"), InvalidReason.TRUNCATED),
        (RuntimeError("OpenVINO\nfailed"), InvalidReason.INFERENCE),
        (RuntimeError(), InvalidReason.INFERENCE),
        (KeyError("a bug"), InvalidReason.INFERENCE),
    ],
)
def test_a_broken_frame_leaves_a_tombstone_and_the_worker_lives_on(error: Exception, reason: InvalidReason) -> None:
    parts = Parts()
    workers = pool(parts, ScriptedDetector({2: error}))
    with parts:
        workers.start()
        parts.add(1, 2, 3)
        workers.join()
    assert parts.publisher.orders == [1, 3]
    assert parts.publisher.tombstones == [Tombstone(STREAM, 2, reason)]
    assert parts.metric("ei_frames_invalid_total", reason=reason.value) == 1
    assert workers.inferred == 2
    assert parts.tasks.in_hand == 0


def test_frames_that_a_drain_has_no_time_for_leave_tombstones() -> None:
    parts = Parts()
    with held_up(parts, 1, 2, 3) as (workers, _):
        wait_for(lambda: workers.stuck(time.monotonic() + STUCK_S + 1), what="the detector to have the first frame")
        workers.drain(time.monotonic() - 1)
    assert parts.publisher.orders == [1]
    assert parts.publisher.tombstones == [Tombstone(STREAM, 2, LOST), Tombstone(STREAM, 3, LOST)]
    assert parts.metric("ei_frames_lost_total") == 2


def test_a_worker_that_spends_a_minute_on_a_frame_is_stuck() -> None:
    parts = Parts()
    with held_up(parts, 1) as (workers, detector):
        wait_for(lambda: workers.stuck(time.monotonic() + STUCK_S + 1), what="the worker to be stuck")
        assert not workers.stuck(time.monotonic())
        detector.go.set()
        wait_for(lambda: not workers.stuck(time.monotonic() + STUCK_S + 1), what="the worker to continue")


def infer_threads() -> int:
    return sum(each.name.startswith("infer-") for each in threading.enumerate())


def test_workers_are_added_and_ended_while_frames_come() -> None:
    parts = Parts(ahead=16)
    workers = pool(parts, *(ScriptedDetector() for _ in range(4)))
    with parts:
        workers.start()
        order = 0
        for count in (1, 4, 2, 3, 4, 1, 4):
            parts.add(*range(order + 1, order + 51))
            order += 50
            # Workers that were told to end may still have to.
            wait_for(lambda n=count: workers.resize(n) or workers.running == n, what=f"{count} workers")  # type: ignore[misc]
        wait_for(lambda: infer_threads() == 4, what="four threads")
        workers.resize(1)
        wait_for(lambda: infer_threads() == 1, what="one thread")
        workers.join()
    assert parts.publisher.orders == list(range(1, order + 1))
    assert workers.inferred == order
    assert not parts.lifecycle.stopping


def test_there_are_never_more_workers_than_detectors() -> None:
    parts = Parts(ahead=16)
    detectors = [ScriptedDetector() for _ in range(2)]
    for each in detectors:
        each.go.clear()
    workers = pool(parts, *detectors)
    with parts:
        workers.start()
        parts.add(1, 2)
        wait_for(lambda: parts.tasks.waiting == 0, what="both workers to be busy")
        workers.resize(1)
        workers.resize(5)
        assert (workers.running, infer_threads()) == (1, 2)
        for each in detectors:
            each.go.set()
        wait_for(lambda: workers.resize(5) or workers.running == 2, what="a worker to end and another to start")
        parts.add(3, 4)
        workers.join()
    assert parts.publisher.orders == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 5])
def test_detectors_are_exchanged_between_two_frames(count: int) -> None:
    parts = Parts(ahead=16)
    former = [ScriptedDetector() for _ in range(3)]
    former[2].go.clear()  # the one that is used first
    workers = pool(parts, *former)
    with parts:
        workers.start()
        parts.add(1)
        wait_for(lambda: parts.tasks.waiting == 0, what="the first frame to be begun")
        new = [ScriptedDetector({order: RuntimeError("new") for order in (2, 3, 4)}) for _ in range(count)]
        # One of them is kept busy.
        exchanged = False

        def exchange() -> bool:
            nonlocal exchanged
            exchanged = exchanged or workers.exchange(new, count)
            return exchanged

        wait_for(exchange, what="the exchange")
        parts.add(2, 3, 4)
        former[2].go.set()
        wait_for(lambda: parts.metric("ei_frames_invalid_total", reason="inference") == 3, what="the new detectors")
        wait_for(lambda: infer_threads() == count, what="as many workers as detectors")
        workers.join()
    assert parts.publisher.orders == [1]


def test_a_frame_that_became_too_old_in_the_pod_is_dropped_and_counted() -> None:
    parts = Parts()
    # Popped when this process's clock began.
    workers = pool(parts, ScriptedDetector(), fresh_s=0.0)
    with parts:
        workers.start()
        parts.add(1, 2)
        workers.join()
    assert parts.publisher.tombstones == [Tombstone(STREAM, 1, "stale"), Tombstone(STREAM, 2, "stale")]
    assert parts.metric("ei_frames_dropped_total", reason="stale") == 2
    assert parts.metric("ei_frames_invalid_total", reason="inference") == 0
    assert workers.inferred == 0
    assert parts.tasks.in_hand == 0


def test_a_frame_that_waited_too_long_for_memory_is_stale() -> None:
    parts = Parts()
    workers = pool(parts, ScriptedDetector({1: StaleFrameError("it has waited too long")}))
    with parts:
        workers.start()
        parts.add(1, 2)
        workers.join()
    assert parts.publisher.tombstones == [Tombstone(STREAM, 1, "stale")]
    assert parts.publisher.orders == [2]
    assert parts.metric("ei_frames_dropped_total", reason="stale") == 1
