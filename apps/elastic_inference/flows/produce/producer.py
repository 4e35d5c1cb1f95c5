"""The flow of both stream services: take the newest frame, encode it once, push it to each type, report.

Called by `camera_service` and `file_service`. A thread of its own reads the source (`source_reader`), so that a slow
queue or encoder never delays frames.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect, explain
from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.memory_limit import room_for_images
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.produce.frame_pacing import Gate
from elastic_inference.flows.produce.newest_slot import NewestSlot
from elastic_inference.flows.produce.queue_sink import QueueSink
from elastic_inference.flows.produce.source_reader import SourceReader
from elastic_inference.flows.produce.source_watch import SourceState, SourceWatch

log = logging.getLogger(__name__)
REPORT_EVERY_S = 2.0
TICK_S = 0.25
# If a read hangs despite every time-out, only a restart of the process helps: liveness fails after this long plus
# twice the stall time.
HANG_LIMIT_S = 80.0
# Allowance for a frame message's other fields: field names, two names of 128 characters, numbers.
MESSAGE_OVERHEAD_BYTES = 512
# This share of the memory that is left may hold an image: the process works on one at a time.
IMAGE_SHARE = 0.9


class Producer:
    """Pushes one source to the queues of one or more types until the lifecycle stops."""

    def __init__(
        self,
        *,
        settings: config.ProducerSettings,
        name: str,
        what: str,
        open_source: Callable[[], Source],
        gate: Gate,
        stall_s: float,
        lifecycle: Lifecycle,
        registry: CollectorRegistry,
    ) -> None:
        """`name` is the stream's name; `what` describes the source in logs and must hold no secret."""
        self._settings = settings
        self._name = name
        self._lifecycle = lifecycle
        self._metrics = ProducerMetrics(registry, name, settings.infer_type)
        self._encoder = JpegEncoder(
            settings.jpeg_quality,
            settings.frame_width,
            settings.frame_height,
            settings.max_frame_pixels,
            room_for_images(IMAGE_SHARE),
        )
        self._watch = SourceWatch(what, stall_s, self._metrics, settings.metrics_window_s)
        self._slot: NewestSlot[tuple[int, CapturedFrame]] = NewestSlot()
        self._reader = SourceReader(
            open_source=open_source,
            gate=gate,
            watch=self._watch,
            slot=self._slot,
            lifecycle=lifecycle,
            stall_s=stall_s,
            hang_limit_s=HANG_LIMIT_S + 2 * stall_s,
            on_drop=self._count_source_drop,
            on_invalid=self._count_invalid,
        )
        self._sinks = [self._sink(infer_type) for infer_type in settings.infer_type]
        self._source_drops = 0
        self._throttle = Throttle()
        self._reported = SourceState.RECONNECTING
        self._next_report = 0.0

    def run(self) -> None:
        """Runs until told to stop. Raises SourceFatalError if the source can never work."""
        self._lifecycle.on_stop(self._slot.close)
        self._reader.start()
        try:
            while not self._lifecycle.stopping:
                self._lifecycle.beat("push")
                taken = self._slot.take(TICK_S)
                if self._reader.fatal is not None:
                    raise self._reader.fatal
                now = time.monotonic()
                if self._watch.check(now):
                    self._reader.interrupt()
                self._reader.replace_if_hung(now)
                if taken is not None and not self._lifecycle.stopping:
                    self._push(*taken)
                self._report()
        finally:
            self._lifecycle.stop()
            self._reader.close(timeout_s=1.0)
            for sink in self._sinks:
                sink.close()

    def _push(self, number: int, captured: CapturedFrame) -> None:
        if not any(sink.open for sink in self._sinks):
            for sink in self._sinks:
                sink.drop()
            return
        try:
            data, width, height = self._encoder.encode(captured)
            limit = self._settings.max_frame_bytes - MESSAGE_OVERHEAD_BYTES
            if len(data) > limit:
                raise InvalidFrameError(
                    InvalidReason.TOO_LARGE, f"{len(data)} bytes of JPEG, at most {limit} fit into MAX_FRAME_BYTES"
                )
        except InvalidFrameError as error:
            self._count_invalid(error)
            return
        frame = Frame(self._name, "", data, number, captured.ts, 0.0, width, height)
        for sink in self._sinks:
            age_ms = (time.monotonic() - captured.captured) * 1000
            sink.push(replace(frame, category=sink.infer_type, age_ms=age_ms))

    def _report(self) -> None:
        now = time.monotonic()
        report = self._watch.report(now)
        if now < self._next_report and report.state is self._reported:
            return
        self._next_report = now + REPORT_EVERY_S
        self._reported = report.state
        for sink in self._sinks:
            sink.report(report, self._source_drops)

    def _count_source_drop(self) -> None:
        # Called only in the reader's thread.
        self._source_drops += 1
        for infer_type in self._settings.infer_type:
            self._metrics.dropped[infer_type, DropReason.SOURCE].inc()

    def _count_invalid(self, error: InvalidFrameError) -> None:
        for infer_type in self._settings.infer_type:
            self._metrics.invalid[infer_type, error.reason].inc()
        if self._throttle.allow(error.reason):
            log.warning("%s: frame not pushed: %s", self._name, error)

    def _sink(self, infer_type: str) -> QueueSink:
        settings = self._settings
        client = connect(settings.queue, key=keys.legacy_queue(infer_type), name=self._name)
        return QueueSink(
            infer_type,
            QueueProducer(client, infer_type, self._name, settings),
            lambda error: explain(error, settings.queue),
            self._metrics,
            self._lifecycle,
        )
