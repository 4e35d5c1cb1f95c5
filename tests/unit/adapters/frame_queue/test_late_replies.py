"""A reply that was read late: whether the pod was stopped, or Redis hung."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.exceptions import ConnectionError, ResponseError
from tests.support.jpeg import tiny_jpeg

from elastic_inference.adapters.frame_queue.fair_queue import FairQueue
from elastic_inference.adapters.frame_queue.legacy_queue import LegacyQueue
from elastic_inference.adapters.frame_queue.pop_batch import PopBatch
from elastic_inference.base.config import QueueRules
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_frame

CALLED_S = 1_790_000_000
MESSAGE = pack_frame(Frame("cam", "face", tiny_jpeg()))


class Link:
    """Returns one reply, or raises it."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.asked: list[Any] = []

    def exchange(self, commands: Any) -> list[Any]:
        self.asked += commands
        if isinstance(self.reply, ConnectionError):
            raise self.reply
        return [self.reply]


@pytest.mark.parametrize(
    ("reply", "late_s"),
    [
        pytest.param([b"%d" % (CALLED_S + 29), b"500000"], 29.5, id="the pod was stopped"),
        pytest.param([b"%d" % CALLED_S, b"0"], 0.0, id="Redis hung"),
        pytest.param([b"%d" % (CALLED_S - 3600), b"0"], 0.0, id="a clock set back"),
        pytest.param(ConnectionError("closed"), 30.0, id="Redis is unavailable now"),
        pytest.param(ResponseError("NOPERM"), 30.0, id="Redis refuses"),
        pytest.param([b"x"], 30.0, id="an odd reply"),
    ],
)
def test_a_late_reply_shows_how_old_its_frames_are(reply: Any, late_s: float) -> None:
    link: Any = Link(reply)
    queue, batch = FairQueue(link, "face", "pod", QueueRules()), PopBatch()
    queue.request(1)
    queue._asked_s = time.monotonic() - 30.0
    queue.accept([[0, [], [b"cam", 1, 1000], CALLED_S * 1_000_000], MESSAGE], batch, 1)
    (popped,) = batch.frames
    assert time.monotonic() - popped.popped_monotonic == pytest.approx(late_s, abs=0.9)


def test_a_prompt_reply_causes_no_other_request() -> None:
    link: Any = Link(None)
    queue, batch = FairQueue(link, "face", "pod", QueueRules()), PopBatch()
    queue.request(1)
    queue.accept([[0, [], [b"cam", 1, 1000], CALLED_S * 1_000_000], MESSAGE], batch, 1)
    assert time.monotonic() - batch.frames[0].popped_monotonic < 0.9
    assert link.asked == []


def test_the_age_of_a_legacy_frame_counts_from_the_request_for_it() -> None:
    link: Any = Link([1])
    queue, batch = LegacyQueue(link, "face", QueueRules()), PopBatch()
    queue.keep(MESSAGE, time.monotonic() - 30.0)
    queue.keep(MESSAGE, time.monotonic())
    queue.accept([0], batch, 2)
    assert [round(time.monotonic() - popped.popped_monotonic) for popped in batch.frames] == [30, 30]
