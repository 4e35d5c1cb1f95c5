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
from elastic_inference.flows.inference.outbox import LOST
from elastic_inference.flows.inference.result_builder import PodInfo, ResultBuilder
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
    return WorkerPool(detectors, results, parts.context, parts.outbox, fresh_s)


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
