"""Counts what one sink has confirmed, and keeps its condition, for metrics and the gateway. Thread-safe."""

from __future__ import annotations

import threading
import time
from typing import Any

from elastic_inference.base.metrics import DeliveryMetrics
from elastic_inference.domain.sink_documents import SinkCondition


class SinkAccount:
    """The account of one sink of this worker; `close` removes its metrics."""

    def __init__(self, sink: str, metrics: DeliveryMetrics, worker: str) -> None:
        self._sink = sink
        self._metrics = metrics
        self._worker = worker
        self._lock = threading.Lock()
        self._condition, self._reason = SinkCondition.STARTING, ""
        self._oldest_ms: float | None = None
        self._offset_ms = 0.0
        self._delivered, self._retried, self._dead = (
            each.labels(sink=sink) for each in (metrics.delivered, metrics.retried, metrics.dead)
        )
        self._counts = {"delivered": 0, "retried": 0, "dead": 0}
        metrics.lag_s.labels(sink=sink).set_function(self.lag_s)
        metrics.up.labels(sink=sink).set(0)

    def lag_s(self) -> float:
        """Age of the oldest event that waits, by Redis' clock; 0 if none does."""
        with self._lock:
            if self._oldest_ms is None:
                return 0.0
            return max(0.0, (time.time() * 1000 + self._offset_ms - self._oldest_ms) / 1000)

    def waits(self, oldest_ms: float | None, offset_ms: float) -> None:
        """Sets the oldest event that waits; `offset_ms` is how far Redis' clock is ahead of this machine's."""
        with self._lock:
            self._oldest_ms, self._offset_ms = oldest_ms, offset_ms

    def delivered(self, count: int) -> None:
        """Counts confirmed events."""
        self._delivered.inc(count)
        self._count("delivered", count)

    def retried(self) -> None:
        """Counts a failed attempt."""
        self._retried.inc()
        self._count("retried", 1)

    def dead(self) -> None:
        """Counts an event that was refused for good."""
        self._dead.inc()
        self._count("dead", 1)

    def set(self, condition: SinkCondition, reason: str = "") -> bool:
        """Sets the condition. True if it has changed."""
        with self._lock:
            news = self._condition is not condition
            self._condition, self._reason = condition, reason[:500]
        self._metrics.up.labels(sink=self._sink).set(condition is SinkCondition.DELIVERING)
        return news

    def state(self) -> dict[str, Any]:
        """The fields of SinkState, for the gateway."""
        lag_s = self.lag_s()
        with self._lock:
            return {
                "condition": self._condition.value,
                "reason": self._reason or None,
                "worker": self._worker,
                "lag_s": round(lag_s, 1),
                "at_ms": int(time.time() * 1000 + self._offset_ms),
                **self._counts,
            }

    def close(self) -> None:
        """Removes the gauges, since another worker has the sink now; counters stay."""
        for each in (self._metrics.lag_s, self._metrics.up):
            each.remove(self._sink)

    def _count(self, what: str, count: int) -> None:
        with self._lock:
            self._counts[what] += count
