"""The flow of both stream services: take the newest picture, encode it once, push it to each type, report.

Called by `camera_service` and `file_service`. The source is read in a thread of its own (`source_reader`), so that
neither a slow queue nor a slow encoder makes the pictures old.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect, explain
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.adapters.source.picture import Picture, Source
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.produce.frame_pacing import Gate
from elastic_inference.flows.produce.newest_slot import NewestSlot
from elastic_inference.flows.produce.outlet import Outlet
from elastic_inference.flows.produce.source_reader import SourceReader
from elastic_inference.flows.produce.source_watch import SourceState, SourceWatch

log = logging.getLogger("ei.produce")
REPORT_EVERY_S = 2.0
TICK_S = 0.25
# A read that hangs in spite of every time-out leaves only a restart of the process: liveness fails after this long,
# and twice the stall.
HANG_LIMIT_S = 80.0
# Room for what a frame message holds beside the picture: its field names, two names of 128 characters, numbers.
MESSAGE_OVERHEAD_BYTES = 512


class Producer:
    """One source into the queues of one or more types, until the lifecycle stops."""

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
        """`name` is the stream's, `what` names the source in logs: no secret in it."""
        self._settings = settings
        self._name = name
        self._lifecycle = lifecycle
        self._metrics = ProducerMetrics(registry, name, settings.infer_type)
        self._encoder = JpegEncoder(
            settings.jpeg_quality, settings.frame_width, settings.frame_height, settings.max_frame_pixels
        )
        self._watch = SourceWatch(what, stall_s, self._metrics, settings.metrics_window_s)
        self._slot: NewestSlot[tuple[int, Picture]] = NewestSlot()
        self._reader = SourceReader(
            open_source=open_source,
            gate=gate,
            watch=self._watch,
            slot=self._slot,
            lifecycle=lifecycle,
            hang_limit_s=HANG_LIMIT_S + 2 * stall_s,
            on_drop=self._count_source_drop,
            on_invalid=self._count_invalid,
        )
        self._outlets = [self._outlet(infer_type) for infer_type in settings.infer_type]
        self._source_drops = 0
        self._throttle = Throttle()
        self._reported = SourceState.RECONNECTING
        self._next_report = 0.0

    def run(self) -> None:
        """Runs until the stop. Raises SourceFatalError where the source can't ever work."""
        self._lifecycle.on_stop(self._slot.close)
        self._reader.start()
        try:
            while not self._lifecycle.stopping:
                self._lifecycle.beat("push")
                taken = self._slot.take(TICK_S)
                if self._reader.fatal is not None:
                    raise self._reader.fatal
                if self._watch.check(time.monotonic()):
                    self._reader.interrupt()
                if taken is not None and not self._lifecycle.stopping:
                    self._push(*taken)
                self._report()
        finally:
            self._lifecycle.stop()
            self._reader.close(timeout_s=1.0)
            for outlet in self._outlets:
                outlet.close()

    def _push(self, number: int, picture: Picture) -> None:
        if not any(outlet.open for outlet in self._outlets):
            for outlet in self._outlets:
                outlet.drop()
            return
        try:
            data, width, height = self._encoder.encode(picture)
            limit = self._settings.max_frame_bytes - MESSAGE_OVERHEAD_BYTES
            if len(data) > limit:
                raise InvalidFrameError(
                    InvalidReason.TOO_LARGE, f"{len(data)} bytes of JPEG, at most {limit} fit into MAX_FRAME_BYTES"
                )
        except InvalidFrameError as error:
            self._count_invalid(error)
            return
        frame = Frame(self._name, "", data, number, picture.ts, 0.0, width, height)
        for outlet in self._outlets:
            age_ms = (time.monotonic() - picture.captured) * 1000
            outlet.push(replace(frame, category=outlet.infer_type, age_ms=age_ms))

    def _report(self) -> None:
        now = time.monotonic()
        report = self._watch.report(now)
        if now < self._next_report and report.state is self._reported:
            return
        self._next_report = now + REPORT_EVERY_S
        self._reported = report.state
        for outlet in self._outlets:
            outlet.report(report, self._source_drops)

    def _count_source_drop(self) -> None:
        # Only the reader's thread calls this.
        self._source_drops += 1
        for infer_type in self._settings.infer_type:
            self._metrics.dropped[infer_type, DropReason.SOURCE].inc()

    def _count_invalid(self, error: InvalidFrameError) -> None:
        for infer_type in self._settings.infer_type:
            self._metrics.invalid[infer_type, error.reason].inc()
        if self._throttle.allow(error.reason):
            log.warning("%s: a frame is not pushed: %s", self._name, error)

    def _outlet(self, infer_type: str) -> Outlet:
        settings = self._settings
        client = connect(settings.queue, key=keys.plain_queue(infer_type), name=self._name)
        return Outlet(
            infer_type,
            QueueProducer(client, infer_type, self._name, settings),
            lambda error: explain(error, settings.queue),
            self._metrics,
            self._lifecycle,
        )
