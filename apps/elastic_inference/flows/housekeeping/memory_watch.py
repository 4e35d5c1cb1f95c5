"""Frees memory of the type that uses most, independently of the rounds: a flood can fill Redis within a second.

Called by `housekeeping_service`, on its event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from elastic_inference.adapters.frame_queue.relief import NO_PODS, PAUSE_S, MemoryRelief
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import HousekeepingMetrics
from elastic_inference.flows.housekeeping.looks import keep_looking

log = logging.getLogger(__name__)


class MemoryWatch:
    """One replica's watch on the memory of the queue's Redis."""

    def __init__(
        self, relief: MemoryRelief, with_pods: Callable[[], Collection[str]], metrics: HousekeepingMetrics
    ) -> None:
        """`with_pods` returns the types that have pods."""
        self._relief, self._with_pods, self._metrics = relief, with_pods, metrics
        metrics.relieved.labels(infer_type=NO_PODS)
        self._throttle = Throttle()

    async def run(self, stop: asyncio.Event) -> None:
        """Checks the memory until the stop."""
        await keep_looking(self._look, PAUSE_S, stop, "checking the memory")

    async def _look(self) -> float:
        reliefs = await self._relief.look(self._with_pods())
        self._metrics.closed.inc(self._relief.closed)
        for relief in reliefs:
            for infer_type, taken in relief.taken.items():
                self._metrics.relieved.labels(infer_type=infer_type).inc(taken)
                if note := self._throttle.note("relief"):
                    mib = 1 << 20
                    log.warning(
                        "Redis uses %d of %d MiB: removed %d MiB of type %s, which uses most of it %s",
                        *(relief.used // mib, relief.limit // mib, taken // mib, relief.largest, note),
                    )
        return self._relief.pause_s
