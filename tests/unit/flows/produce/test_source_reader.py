"""The thread that reads a source: whatever ends it, the producer gets to know."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from tests.support.waiting import wait_for

from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain.errors import SourceFatalError
from elastic_inference.flows.produce.frame_pacing import CameraCap
from elastic_inference.flows.produce.newest_slot import NewestSlot
from elastic_inference.flows.produce.source_reader import PART, SourceReader
from elastic_inference.flows.produce.source_watch import SourceWatch


@pytest.mark.parametrize("error", [SourceFatalError("the file is missing"), KeyError("a bug"), SystemExit(1)])
def test_a_thread_that_ends_unasked_leaves_its_error_to_the_producer(error: BaseException) -> None:
    lifecycle = Lifecycle("camera stream")
    slot: NewestSlot[tuple[int, CapturedFrame]] = NewestSlot()

    def open_source() -> Source:
        raise error

    reader = SourceReader(
        open_source=open_source,
        gate=CameraCap(30.0),
        watch=SourceWatch("The camera", 5.0, ProducerMetrics(CollectorRegistry(), "cam", ("face",)), 5.0),
        at_once=lambda _number, _frame: False,
        slot=slot,
        lifecycle=lifecycle,
        stall_s=5.0,
        on_drop=lambda: None,
        on_gated=lambda: None,
        on_invalid=lambda _error: None,
    )
    reader.start()
    wait_for(lambda: reader.fatal is not None, what="the thread's error")
    assert reader.fatal is error
    assert slot.take(30.0) is None, "the slot is closed, so that the producer looks at once"
    assert PART in lifecycle.missing()
    assert reader.close(10.0)
