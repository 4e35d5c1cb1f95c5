"""Sends one stream to the queue of one inference type, and retries while Redis is unavailable.

Called by `producer`, in its thread only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import REDIS_ERRORS
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.produce.source_watch import SourceReport

log = logging.getLogger(__name__)
# Redis is unavailable, refuses a command (missing right, wrong type of key), or its host name is invalid.
# None of these may end a camera.
QUEUE_ERRORS: tuple[type[Exception], ...] = (*REDIS_ERRORS, RedisError, UnicodeError)


class QueueSink:
    """Never raises while Redis is unavailable: frames count as `source` drops, and readiness fails until it is back."""

    def __init__(
        self,
        infer_type: str,
        producer: QueueProducer,
        explain: Callable[[Exception], str],
        metrics: ProducerMetrics,
        lifecycle: Lifecycle,
    ) -> None:
        """`explain` describes a queue error in one line, without secrets."""
        self.infer_type = infer_type
        self._producer = producer
        self._explain = explain
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._part = f"queue of {infer_type}"
        self._backoff = Backoff(0.1, 1.5)
        self._retry_at = 0.0
        self._unavailable = False
        self._throttle = Throttle()
        self._dropped = 0
        lifecycle.declare(self._part, "not connected yet")

    @property
    def open(self) -> bool:
        """False while it waits for the next retry."""
        return time.monotonic() >= self._retry_at

    def push(self, frame: Frame) -> None:
        """Pushes one frame, or counts it as dropped."""
        if not self.open:
            self.drop()
            return
        try:
            outcome = self._producer.push(frame)
        except QUEUE_ERRORS as error:
            self._failed(error)
            self.drop()
            return
        self._worked()
        if outcome.pushed:
            self._metrics.pushed[self.infer_type].inc()
        for reason, number in outcome.dropped.items():
            self._metrics.dropped[self.infer_type, reason].inc(number)
        if outcome.invalid is not None:
            self._metrics.invalid[self.infer_type, outcome.invalid].inc()

    def report(self, source: SourceReport, dropped: int) -> None:
        """Reports the source's state to the queue; `dropped` counts the frames dropped before any sink."""
        if not self.open:
            return
        try:
            self._producer.report_source(source.state.value, source.fps, source.reconnects, dropped + self._dropped)
        except QUEUE_ERRORS as error:
            self._failed(error)
            return
        self._worked()

    def close(self) -> None:
        """Closes the connection."""
        self._producer.close()

    def drop(self) -> None:
        """Counts a frame that was not pushed."""
        self._dropped += 1
        self._metrics.dropped[self.infer_type, DropReason.SOURCE].inc()

    def _failed(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + self._backoff.next_s()
        why = self._explain(error)
        if self._throttle.allow("unavailable") or not self._unavailable:
            log.warning("%s: %s; dropping frames until it works again", self._part, why)
        self._unavailable = True
        self._lifecycle.set_missing(self._part, why)

    def _worked(self) -> None:
        self._unavailable = False
        self._backoff.reset()
        self._lifecycle.set_ready(self._part)
