"""Sends one stream to the queue of one inference type, and retries while Redis is unavailable.

Called by `pusher`, by one thread at a time; `drop` is for any thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from redis.exceptions import RedisError

from elastic_inference.adapters.frame_queue import PushLease, PushOutcome, QueueProducer
from elastic_inference.adapters.redis_connection import REDIS_ERRORS
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.produce.source_watch import SourceReport
from elastic_inference.flows.produce.stream_needs import StreamNeeds

log = logging.getLogger(__name__)
# Redis is unavailable, refuses a command (missing right, wrong type of key), or its host name is invalid.
# None of these may end a camera.
QUEUE_ERRORS: tuple[type[Exception], ...] = (*REDIS_ERRORS, RedisError, UnicodeError)


class QueueState:
    """The state of one type's queue, for all its streams: readiness, log lines and pauses."""

    def __init__(self, infer_type: str, explain: Callable[[Exception], str], lifecycle: Lifecycle) -> None:
        """`explain` describes a queue error in one line, without secrets."""
        self.infer_type = infer_type
        self._explain = explain
        self._lifecycle = lifecycle
        self._part = f"queue of {infer_type}"
        self._backoff = Backoff(0.1, 1.5)
        self._retry_at = 0.0
        self._unavailable = False
        self._working = False
        self._throttle = Throttle()
        lifecycle.declare(self._part, "not connected yet")

    @property
    def open(self) -> bool:
        """False while it waits for the next retry."""
        return time.monotonic() >= self._retry_at

    def failed(self, error: Exception) -> None:
        """Records that the queue has refused or not answered; simultaneous failures count as one."""
        self._working = False
        if not self.open:
            return
        self._retry_at = time.monotonic() + self._backoff.next_s()
        why = self._explain(error)
        if self._throttle.allow("unavailable") or not self._unavailable:
            log.warning("%s: %s; dropping frames until it works again", self._part, why)
        self._unavailable = True
        self._lifecycle.set_missing(self._part, why)

    def worked(self) -> None:
        """Records that the queue has accepted something."""
        if self._working:
            return
        self._working = True
        self._unavailable = False
        self._backoff.reset()
        self._lifecycle.set_ready(self._part)

    def end(self) -> None:
        """Records that no stream uses the queue any longer: readiness then does not depend on it."""
        self._lifecycle.set_ready(self._part)


@dataclass(slots=True)
class Permit:
    """The right to push one stream. An ordinary producer always has it, a leased camera until its lease ends.

    `until` is by this machine's monotonic clock; the queue refuses frames of a lease that is not the newest.
    """

    until: float = float("inf")
    lease: PushLease | None = None

    def valid(self, now: float) -> bool:
        """Whether a frame may be pushed now."""
        return now < self.until and not (self.lease is not None and self.lease.fenced)


class QueueSink:
    """Never raises while Redis is unavailable: frames count as `source` drops, and readiness fails until it is back."""

    def __init__(
        self,
        state: QueueState,
        producer: QueueProducer,
        metrics: ProducerMetrics,
        permit: Permit | None = None,
        needs: StreamNeeds | None = None,
    ) -> None:
        """`needs` is called with the queue's answer when the producer asks which size is needed."""
        self.infer_type = state.infer_type
        self._needs = needs
        self.state = state
        self.producer = producer
        self.permit = permit or Permit()
        self._metrics = metrics
        self._dropped = 0

    @property
    def open(self) -> bool:
        """False while it waits for the next retry, or may not push."""
        return self.state.open and self.permit.valid(time.monotonic())

    def push(self, frame: Frame) -> None:
        """Pushes one frame, or counts it as dropped."""
        if not self.open:
            self.drop()
            return
        try:
            outcome = self.producer.push(frame)
        except QUEUE_ERRORS as error:
            self.failed(error)
            return
        self.pushed(outcome)

    def failed(self, error: Exception) -> None:
        """Counts a frame that the queue has not accepted."""
        self.state.failed(error)
        self.drop()

    def pushed(self, outcome: PushOutcome) -> None:
        """Counts the outcome of a push."""
        self.state.worked()
        if outcome.pushed:
            self._metrics.pushed[self.infer_type].inc()
        for reason, number in outcome.dropped.items():
            self._metrics.dropped[self.infer_type, reason].inc(number)
        if outcome.invalid is not None:
            self._metrics.invalid[self.infer_type, outcome.invalid].inc()
        if outcome.wanted is not None:
            self.answered(outcome.wanted)

    def answered(self, wanted: int) -> None:
        """Records the frame size that the queue asks for."""
        if self._needs is not None:
            self._needs.learn(self.infer_type, wanted)

    def report(self, source: SourceReport, dropped: int) -> None:
        """Reports the source's state to the queue; `dropped` counts the frames dropped before any sink."""
        if not self.open:
            return
        try:
            self.producer.report_source(source.state.value, source.fps, source.reconnects, dropped + self._dropped)
        except QUEUE_ERRORS as error:
            self.state.failed(error)
            return
        self.state.worked()

    def close(self) -> None:
        """Closes the connection."""
        self.producer.close()

    def drop(self) -> None:
        """Counts a frame that was not pushed."""
        self._dropped += 1
        self._metrics.dropped[self.infer_type, DropReason.SOURCE].inc()
