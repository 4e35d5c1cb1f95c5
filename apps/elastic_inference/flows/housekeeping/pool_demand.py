"""How many pods each type needs, and whether it needs any, from what pods report and how many frames wait. asyncio.

Read by `scaler`. What is not known is None, never 0: an autoscaler then keeps the pool as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from elastic_inference.adapters.frame_queue import QueueReader
from elastic_inference.adapters.stream_broker.records import WorkerInfo
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.domain.scale_ratio import MAX_SCALE_RATIO

# Pods report every second. One that has not for this long is late: it was killed, or is cut off from the broker.
LATE_S = 5.0
# A single late pod was probably killed, and the others take over its frames. More of them are cut off.
_LATE_PART = 0.1
# After an outage, or a start of the broker, pods register again within this time.
SETTLE_S = 10.0
# A reading of the registry is used for this long.
KEPT_S = 1.0
LIMIT_S = 3.0


def sum_of_ratios(workers: Sequence[WorkerInfo], now_s: float) -> float | None:
    """The demand in pods of one type: the sum of its pods' ratios. 0 if it has no pod, None if pods are missing.

    `workers` are the pods that reported within the last 15 s; `now_s` is Redis' time.
    """
    here = [each.scale_ratio for each in workers if now_s - each.last_seen <= LATE_S]
    late = len(workers) - len(here)
    if late and (not here or late > max(1.0, _LATE_PART * len(workers))):
        return None
    return sum(min(ratio, MAX_SCALE_RATIO) for ratio in here)


class PoolDemand:
    """Reads the demand for all callers together, that of pods at most once a second. One event loop."""

    def __init__(self, reader: QueueReader, registry: StreamRegistry, *, cluster: bool) -> None:
        """`cluster`: the broker is a Redis Cluster, of which nobody can say when it started."""
        self._reader, self._registry, self._cluster = reader, registry, cluster
        self._lock = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._asked: set[str] = set()
        self._counts: dict[str, int] = {}
        self._counted_at = float("-inf")
        self._read_at = self._failed_at = float("-inf")
        self._settled = False
        self._workers: dict[str, list[WorkerInfo]] = {}
        self._now_s = 0.0

    async def waiting(self, infer_types: Sequence[str]) -> list[int]:
        """Frames that wait, for each type. Raises REDIS_ERRORS, also for an answer that takes too long.

        Questions that come while Redis answers are asked together: each alone would take a connection to Redis.
        """
        began = time.monotonic()
        self._asked.update(infer_types)
        async with asyncio.timeout(LIMIT_S), self._asking:
            if self._counted_at < began or not self._counts.keys() >= set(infer_types):
                names, self._asked, at = list(self._asked | set(infer_types)), set(), time.monotonic()
                self._counts = dict(zip(names, await self._reader.lengths(names), strict=True))
                self._counted_at = at
            return [self._counts[each] for each in infer_types]

    async def pods(self, infer_type: str) -> float | None:
        """The demand in pods; None if it is unknown at the moment. Raises as `waiting`."""
        async with self._lock:
            if time.monotonic() - self._read_at > KEPT_S:
                await self._read()
        return sum_of_ratios(self._workers.get(infer_type, ()), self._now_s) if self._settled else None

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                now_s, workers = await self._registry.reports()
                up_s = None if self._cluster else await self._registry.up_s()
        except Exception:
            self._failed_at = time.monotonic()
            raise
        by_type: dict[str, list[WorkerInfo]] = {}
        for each in workers:
            by_type.setdefault(each.type, []).append(each)
        self._workers, self._now_s, self._read_at = by_type, now_s, time.monotonic()
        self._settled = self._read_at - self._failed_at > SETTLE_S and (up_s is None or up_s > SETTLE_S)
