"""What a pod logs about the frames of a client that writes anything it likes."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from elastic_inference.base.log import TextFormatter
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.flows.inference import frame_account
from elastic_inference.flows.inference.frame_account import FrameAccount
from tests.support.queue_bench import TYPE, QueueBench


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter())
    frame_account.log.addHandler(handler)
    yield stream
    frame_account.log.removeHandler(handler)


def push_broken(bench: QueueBench, names: list[str]) -> None:
    """Writes an invalid frame under each name, as the Redis user `camera` can."""
    with bench.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.set(keys.frame(TYPE, name, "1"), b"broken", px=60_000)
            pipe.rpush(keys.waiting(TYPE, name), b"%d 6 1" % (time.time() * 1e6))
            pipe.rpush(keys.tokens(TYPE), name)
        pipe.execute()


def test_four_thousand_broken_frames_under_new_names_are_a_few_lines(bench: QueueBench, written: io.StringIO) -> None:
    account = FrameAccount(InferenceMetrics(CollectorRegistry(), TYPE, "m"))
    for start in range(0, 4000, 200):
        push_broken(bench, [f"new-{number}" for number in range(start, start + 200)])
        while (batch := bench.pop(64)).invalid:
            account.popped(batch)
    account.lost(1, "another reason must still be heard")
    lines = written.getvalue().splitlines()
    assert bench.invalid == 4000
    assert len(lines) <= 34
    assert "stream new-0: invalid frame (not_msgpack)" in lines[0]
    assert lines[-2].endswith("skipped (and others; logged once a minute)")
    assert "another reason must still be heard" in lines[-1]


def test_a_reason_of_a_megabyte_with_line_ends_is_one_short_line(bench: QueueBench, written: io.StringIO) -> None:
    account = FrameAccount(InferenceMetrics(CollectorRegistry(), TYPE, "m"))
    account.invalid("gate\n12:00:00 INFO    x: forged", InvalidFrameError(InvalidReason.NAME, "n\n" * 2**19))
    (line,) = written.getvalue().splitlines()
    assert len(line) < 1000
    assert r"stream gate\n12:00:00 INFO    x: forged: invalid frame (name): n\nn" in line
