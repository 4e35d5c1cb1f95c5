"""Frees memory of the type that uses most, independently of the rounds: a flood can fill Redis within a second.

Called by `housekeeping_service`, on its event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from redis.exceptions import RedisError

from elastic_inference.adapters.frame_queue.relief import NO_PODS, PAUSE_S, MemoryRelief
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import HousekeepingMetrics

log = logging.getLogger(__name__)

LOOK_LIMIT_S = 3.0


class MemoryWatch:
    """One replica's watch on the memory of the queue's Redis. The rounds report a Redis that does not answer."""

    def __init__(
        self, relief: MemoryRelief, with_pods: Callable[[], Collection[str]], metrics: HousekeepingMetrics
    ) -> None:
        """`with_pods` returns the types that have pods."""
        self._relief, self._with_pods, self._metrics = relief, with_pods, metrics
        metrics.relieved.labels(infer_type=NO_PODS)
        self._throttle = Throttle()

    async def run(self, stop: asyncio.Event) -> None:
        """Checks the memory until the stop. A bug in a check is logged."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(LOOK_LIMIT_S):
                    await self._look()
                pause_s = self._relief.pause_s
            except (RedisError, OSError, TimeoutError) as error:
                log.debug("memory could not be freed: %s", error)
                pause_s = PAUSE_S
            except Exception as error:
                if note := self._throttle.note(type(error)):
                    log.exception("checking the memory failed %s", note)
                pause_s = PAUSE_S
            try:
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        for relief in await self._relief.look(self._with_pods()):
            for infer_type, taken in relief.taken.items():
                self._metrics.relieved.labels(infer_type=infer_type).inc(taken)
                if note := self._throttle.note("relief"):
                    mib = 1 << 20
                    log.warning(
                        "Redis uses %d of %d MiB: removed %d MiB of type %s, which uses most of it %s",
                        *(relief.used // mib, relief.limit // mib, taken // mib, relief.largest, note),
                    )
