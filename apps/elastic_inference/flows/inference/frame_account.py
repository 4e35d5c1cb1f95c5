"""Counts the outcome of each popped frame, and logs problems at most once a minute for each stream and reason.

Called by all parts of the pod. Together with the queue's own counts it makes up the account: pushed = inferred +
dropped + invalid + waiting + lost.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from elastic_inference.adapters.frame_queue import PopBatch
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.domain.errors import DropReason, InvalidFrameError
from elastic_inference.flows.inference.task_queue import Outgoing

log = logging.getLogger(__name__)


class FrameAccount:
    """Any thread; a race costs one extra log line."""

    def __init__(self, metrics: InferenceMetrics) -> None:
        self._metrics = metrics
        # Streams' names come from outside.
        self._streams = Throttle()
        self._losses = Throttle()

    def popped(self, batch: PopBatch) -> None:
        """Counts a batch from the queue."""
        metrics = self._metrics
        for popped in batch.frames:
            metrics.queue_wait_s.observe(popped.queue_ms / 1000)
        if count := len(batch.frames) + len(batch.invalid):
            metrics.popped.inc(count)
        for invalid in batch.invalid:
            self.invalid(invalid.stream, invalid.error)
        for reason, count in batch.dropped.items():
            metrics.dropped[reason].inc(count)

    def invalid(self, stream: str, error: InvalidFrameError) -> None:
        """Counts an unusable frame; `stream` is empty if it is unknown."""
        self._metrics.invalid[error.reason].inc()
        if note := self._streams.note((stream, error.reason)):
            log.warning("stream %s: %s; skipped %s", stream or "(unknown)", error, note)

    def published(self, batch: Sequence[Outgoing]) -> None:
        """Counts results that were sent."""
        metrics = self._metrics
        metrics.inferred.inc(len(batch))
        for result, _ in batch:
            metrics.inference_s.observe(result.infer_ms / 1000)
            metrics.end_to_end_s.observe((result.age_ms + result.queue_ms + result.infer_ms) / 1000)

    def stale(self, count: int) -> None:
        """Counts popped frames that have become too old in the pod, as when its process was stopped for a while."""
        self._metrics.dropped[DropReason.STALE].inc(count)
        if note := self._losses.note(DropReason.STALE):
            log.warning("dropped %d frame(s) that have become too old in this pod %s", count, note)

    def lost(self, count: int, why: str) -> None:
        """Counts popped frames that cannot be inferred or published."""
        self._metrics.lost.inc(count)
        if note := self._losses.note(why):
            log.warning("lost %d frame(s): %s %s", count, why, note)
