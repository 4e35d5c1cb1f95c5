"""The thread that reads a source: whatever ends it, the producer gets to know."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.support.waiting import wait_for

from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.adapters.source.file import FileSource
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain.errors import SourceFatalError
from elastic_inference.flows.produce.frame_pacing import CameraCap, FileCap, Gate
from elastic_inference.flows.produce.newest_slot import NewestSlot
from elastic_inference.flows.produce.source_reader import OPEN_LIMIT_S, PART, SourceReader
from elastic_inference.flows.produce.source_watch import SourceWatch


def reading(
    open_source: Callable[[], Source], gate: Gate, lifecycle: Lifecycle, slot: NewestSlot[tuple[int, CapturedFrame]]
) -> SourceReader:
    """A reader of that source, not yet started."""
    return SourceReader(
        open_source=open_source,
        gate=gate,
        watch=SourceWatch("The camera", 5.0, ProducerMetrics(CollectorRegistry(), "cam", ("face",)), 5.0),
        at_once=lambda _number, _frame: False,
        slot=slot,
        lifecycle=lifecycle,
        stall_s=5.0,
        on_drop=lambda: None,
        on_gated=lambda: None,
        on_invalid=lambda _error: None,
    )


@pytest.mark.parametrize("error", [SourceFatalError("the file is missing"), KeyError("a bug"), SystemExit(1)])
def test_a_thread_that_ends_unasked_leaves_its_error_to_the_producer(error: BaseException) -> None:
    lifecycle = Lifecycle("camera stream")
    slot: NewestSlot[tuple[int, CapturedFrame]] = NewestSlot()

    def open_source() -> Source:
        raise error

    reader = reading(open_source, CameraCap(30.0), lifecycle, slot)
    reader.start()
    wait_for(lambda: reader.fatal is not None, what="the thread's error")
    assert reader.fatal is error
    assert slot.take(30.0) is None, "the slot is closed, so that the producer looks at once"
    assert PART in lifecycle.missing()
    assert reader.close(10.0)


def test_a_frame_that_is_not_decoded_because_of_the_cap_keeps_its_number(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=64x48:r=25 -t 2 -pix_fmt yuv420p -c:v libx264 -bf 2"
    subprocess.run([*command.split(), str(clip)], check=True, stdin=subprocess.DEVNULL)
    lifecycle = Lifecycle("camera stream")
    slot: NewestSlot[tuple[int, CapturedFrame]] = NewestSlot()
    reader = reading(lambda: FileSource(clip), FileCap(5.0), lifecycle, slot)
    reader.start()
    numbers = []
    while not numbers or numbers[-1] < 60:
        taken = slot.take(30.0)
        assert taken is not None
        numbers.append(taken[0])
    lifecycle.stop()
    assert reader.close(10.0)
    # A busy machine may replace a frame that nobody took; then a gap is twice as long.
    gaps = sorted(after - before for before, after in pairwise(numbers[2:]))
    assert 4 <= gaps[len(gaps) // 2] <= 6


def test_opening_that_hangs_is_left_behind_and_the_next_try_delivers(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=64x48:r=25 -t 1 -pix_fmt yuv420p -c:v libx264"
    subprocess.run([*command.split(), str(clip)], check=True, stdin=subprocess.DEVNULL)
    hang, tries = threading.Event(), iter([True])

    def open_source() -> Source:
        # As a name lookup or a driver that never answers.
        if next(tries, False):
            hang.wait(60)
        return FileSource(clip)

    lifecycle = Lifecycle("camera stream")
    slot: NewestSlot[tuple[int, CapturedFrame]] = NewestSlot()
    reader = reading(open_source, FileCap(25.0), lifecycle, slot)
    reader.start()
    wait_for(lambda: reader.opening, what="the first try")
    reader.replace_if_hung(time.monotonic() + OPEN_LIMIT_S - 1)
    assert slot.take(0.2) is None, "not yet"
    reader.replace_if_hung(time.monotonic() + OPEN_LIMIT_S + 1)
    assert slot.take(30.0) is not None
    hang.set()
    lifecycle.stop()
    assert reader.close(10.0)
