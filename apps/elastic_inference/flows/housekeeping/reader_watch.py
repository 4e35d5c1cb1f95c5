"""Keeps readers of results from filling the broker's Redis, independently of the rounds.

Called by `housekeeping_service`, on its event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from redis.exceptions import NoPermissionError

from elastic_inference.adapters.stream_broker.reader_bounds import PAUSE_S, ReaderBounds
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import HousekeepingMetrics
from elastic_inference.flows.housekeeping.looks import keep_looking

log = logging.getLogger(__name__)

# New rights come with a new users.acl, for which Redis is set up again.
REFUSED_PAUSE_S = 60.0


class ReaderWatch:
    """One replica's watch on what readers keep."""

    def __init__(self, bounds: ReaderBounds, metrics: HousekeepingMetrics, explain: Callable[[Exception], str]) -> None:
        """`explain` says in a line what a Redis error means."""
        self._bounds, self._metrics, self._explain = bounds, metrics, explain
        self._throttle = Throttle()

    async def run(self, stop: asyncio.Event) -> None:
        """Looks until the stop."""
        await keep_looking(self._look, PAUSE_S, stop, "looking at the groups of readers")

    async def _look(self) -> float:
        try:
            removed = await self._bounds.look()
        except NoPermissionError as error:
            # The user `viewer`, or an older users.acl.
            if note := self._throttle.note("refused"):
                log.info("what groups of readers keep has no bounds: %s %s", self._explain(error), note)
            return REFUSED_PAUSE_S
        self._metrics.reader_streams.inc(removed.streams)
        if removed.streams and (note := self._throttle.note("removed")):
            log.warning(
                "the groups of readers of results take too much of Redis' memory: removed %d streams with their "
                "groups, such as %s %s",
                *(removed.streams, removed.stream.decode(errors="replace"), note),
            )
        return PAUSE_S
