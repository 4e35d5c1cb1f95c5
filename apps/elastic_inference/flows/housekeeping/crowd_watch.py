"""Keeps crowds of streams from taking all turns of their types, independently of the rounds.

Called by `housekeeping_service`, on its event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from elastic_inference.adapters.frame_queue.crowd_control import MAX_GROUP_STREAMS, PAUSE_S, CrowdControl
from elastic_inference.base.log import Throttle
from elastic_inference.flows.housekeeping.looks import keep_looking

log = logging.getLogger(__name__)


class CrowdWatch:
    """One replica's watch on the turns of the queue's types."""

    def __init__(self, control: CrowdControl, types: Callable[[], Sequence[str]]) -> None:
        """`types` returns the types that are served."""
        self._control, self._types = control, types
        self._throttle = Throttle()

    async def run(self, stop: asyncio.Event) -> None:
        """Looks until the stop."""
        await keep_looking(self._look, PAUSE_S, stop, "sharing the turns")

    async def _look(self) -> float:
        for crowd in await self._control.look(self._types()):
            if note := self._throttle.note(crowd.infer_type):
                log.warning(
                    "type %s has more than %d streams whose names begin with %r: together they get every second turn "
                    "while other streams wait %s",
                    *(crowd.infer_type, MAX_GROUP_STREAMS, crowd.group, note),
                )
        return self._control.pause_s
