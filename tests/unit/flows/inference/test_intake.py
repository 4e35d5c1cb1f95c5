"""The intake alone: what it does with a batch, with a queue that fails, and at the stop."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ConnectionError
from tests.support.jpeg import progressive_jpeg, with_size
from tests.support.pod_parts import STREAM, Parts, popped
from tests.support.waiting import wait_for

from elastic_inference.adapters.frame_queue import PopBatch, PoppedFrame
from elastic_inference.adapters.frame_queue.pop_batch import InvalidFrame
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.sequence import Tombstone
from elastic_inference.flows.inference.intake import Intake


class ScriptedConsumer:
    """Gives out `answers`, batches or errors, then empty batches."""

    def __init__(self, *answers: PopBatch | Exception) -> None:
        self.answers = list(answers)
        self.legacy_in_hand = 0
        self.loads = 0
        self.pops = 0
        self.close_error: Exception | None = None

    def load_scripts(self) -> None:
        self.loads += 1

    def pop(self, max_frames: int, wait_s: float = 1.0) -> PopBatch:
        self.pops += 1
        if not self.answers:
            threading.Event().wait(0.01)
            return PopBatch()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        if self.close_error is not None:
            raise self.close_error


@contextmanager
def running(parts: Parts, consumer: ScriptedConsumer) -> Iterator[None]:
    intake = Intake(consumer, "face", parts.context, parts.sender, parts.health("queue"))
    thread = threading.Thread(target=intake.run)
    thread.start()
    try:
        yield
    finally:
        parts.lifecycle.stop()
        parts.tasks.interrupt()
        thread.join(10)
        assert not thread.is_alive()


def test_a_batch_goes_to_the_workers_the_counters_and_the_result_sender() -> None:
    parts = Parts()
    broken = InvalidFrame("cam", InvalidFrameError(InvalidReason.NOT_JPEG, "a GIF"), 2)
    batch = PopBatch(
        [popped(1), popped(3)],
        Counter({DropReason.STALE: 1, DropReason.QUEUE_FULL: 5}),
        invalid=[broken],
        tombstones=[Tombstone(STREAM, 2, "not_jpeg"), Tombstone(STREAM, 4, "stale")],
    )
    with parts, running(parts, ScriptedConsumer(batch)):
        wait_for(lambda: len(parts.publisher.tombstones) == 2, what="the tombstones")
        wait_for(lambda: parts.metric("ei_frames_dropped_total", reason="queue_full") == 5, what="the counters")
        first, second = parts.tasks.take(), parts.tasks.take()
    assert first is not None
    assert second is not None
    assert [(task.stream, task.popped.order) for task in (first, second)] == [(STREAM, 1), (STREAM, 3)]
    assert parts.metric("ei_frames_popped_total") == 3
    assert parts.metric("ei_frames_invalid_total", reason="not_jpeg") == 1
    assert parts.metric("ei_frames_dropped_total", reason="stale") == 1


def test_after_an_error_of_any_kind_it_loads_the_scripts_again_and_continues() -> None:
    parts = Parts()
    consumer = ScriptedConsumer(ConnectionError("refused"), ValueError("a bug"), PopBatch([popped(1)]))
    with running(parts, consumer):
        wait_for(lambda: "refused" in parts.lifecycle.missing().get("queue", ""), what="readiness to say why")
        wait_for(lambda: parts.tasks.waiting == 1, what="the frame")
        wait_for(lambda: "queue" not in parts.lifecycle.missing(), what="readiness")
    assert consumer.loads == 3


def test_it_pops_no_more_than_the_workers_are_about_to_need() -> None:
    parts = Parts(ahead=2)
    consumer = ScriptedConsumer(PopBatch([popped(1), popped(2)]), PopBatch([popped(3), popped(4)]))
    with running(parts, consumer):
        wait_for(lambda: parts.tasks.waiting == 2, what="the first batch")
        assert consumer.pops == 1
        parts.tasks.take()
        wait_for(lambda: parts.tasks.waiting == 3, what="the second batch")


def test_legacy_frames_that_cannot_be_put_back_are_lost() -> None:
    parts = Parts()
    consumer = ScriptedConsumer()
    consumer.legacy_in_hand = 2
    consumer.close_error = ConnectionError("refused")
    with running(parts, consumer):
        wait_for(lambda: consumer.pops, what="a pop")
    assert parts.metric("ei_frames_lost_total") == 2


def test_costly_frames_beyond_what_the_pod_holds_are_dropped_and_counted() -> None:
    image = with_size(progressive_jpeg(64, 64), 5744, 5744)
    frames = [
        PoppedFrame(Frame("cam", "face", image, order, None, 0.0, 5744, 5744), order, 1.0, time.monotonic())
        for order in range(1, 6)
    ]
    with Parts(ahead=8) as parts, running(parts, ScriptedConsumer(PopBatch(frames))):
        wait_for(lambda: parts.metric("ei_frames_dropped_total", reason="stale") == 3, what="the drops")
        wait_for(lambda: parts.tasks.in_hand == 2, what="their release")
        wait_for(lambda: len(parts.publisher.tombstones) == 3, what="their tombstones")
        assert {each.reason for each in parts.publisher.tombstones} == {DropReason.STALE}
        parts.tasks.end(2)
        while (task := parts.tasks.take()) is not None:
            parts.sender.discard(task.slot, Tombstone(task.stream, task.popped.order, "stale"), task.size)
