"""A client's view of the event log: filters, pages, the newest events for server-sent events; and counters.

Called by the handlers in `api_events` and by the event hub.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from redis.exceptions import RedisError

from elastic_inference.adapters.event_store.entries import EntryId
from elastic_inference.adapters.event_store.event_log import EventLog, Found, LogPosition, write_cursor
from elastic_inference.base.log import Throttle
from elastic_inference.domain.events.camera_counts import CameraCounts, no_counts
from elastic_inference.domain.events.event import Event
from elastic_inference.domain.events.page import EventPage
from elastic_inference.flows.gateway.access import Access
from elastic_inference.flows.gateway.login_places import LoginQueues

log = logging.getLogger(__name__)

READ_LIMIT_S = 3.0
# Maximum number of concurrent searches, of all clients: each may parse thousands of events.
MAX_READS = 4
# A login that searches all the time gets a quarter of the event loop's time.
_REST = 3.0
FRESH_S = 0.4
# The newest events, kept for all clients, and how many of them one client gets at once.
_KEPT, _SENT = 500, 50


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a client wants; None stands for all. Times are in Unix ms."""

    camera: str | None = None
    type: str | None = None
    label: str | None = None
    zone: str | None = None
    kind: str | None = None
    since: float = 0.0
    until: float = float("inf")

    def takes(self, event: Event) -> bool:
        """Whether the filter accepts this event."""
        return (
            self.camera in (None, event.camera)
            and self.type in (None, event.type)
            and self.label in (None, event.label)
            and (self.zone is None or self.zone == event.zone or self.zone in event.zones)
            and self.kind in (None, str(event.kind))
            and self.since <= event.at_ms <= self.until
        )


class EventReader:
    """The log, for all clients of the gateway."""

    def __init__(self, source: EventLog, explain: Callable[[Exception], str]) -> None:
        self._source = source
        self._explain = explain
        self._places = LoginQueues(MAX_READS, _REST)
        self._newest: deque[Event] = deque(maxlen=_KEPT)
        self._since: dict[int, EntryId] = {}
        self._read_at_s = float("-inf")
        self._throttle = Throttle()

    async def page(self, access: Access, wanted: Filter, limit: int, start: LogPosition | None) -> EventPage:
        """The events that `access` sees and the filter accepts. Raises RedisError, OSError or TimeoutError."""
        # An event is written some time after it happened, never before; clocks differ by less than a minute.
        oldest_ms = wanted.since - 60_000
        async with self._places.place(access), asyncio.timeout(READ_LIMIT_S):
            found: Found = await self._source.page(
                lambda event: access.sees(event.camera) and wanted.takes(event), limit, start, oldest_ms
            )
        return EventPage(found.events, write_cursor(found.next) if found.next else None)

    async def event(self, access: Access, event_id: str) -> Event | None:
        """The newest revision of an event, if `access` sees its camera. Raises as `page`."""
        camera = event_id.partition("/")[0].partition(":")[0]
        if not access.sees(camera):
            return None
        async with self._places.place(access), asyncio.timeout(READ_LIMIT_S):
            return await self._source.find(event_id, camera)

    async def counts(self, access: Access, camera: str) -> CameraCounts | None:
        """What a camera's zones and lines have counted; None if `access` does not see it. Raises as `page`."""
        if not access.sees(camera):
            return None
        async with self._places.place(access), asyncio.timeout(READ_LIMIT_S):
            return await self._source.counts(camera) or no_counts(camera)

    async def newest(self, access: Access) -> EventPage | None:
        """The newest events that `access` sees; None if they cannot be read now."""
        now_s = time.monotonic()
        if now_s - self._read_at_s >= FRESH_S:
            self._read_at_s = now_s
            try:
                async with asyncio.timeout(READ_LIMIT_S):
                    self._newest.extend(event for _, event in await self._source.newer(self._since, _SENT))
            except (RedisError, OSError, TimeoutError) as error:
                if note := self._throttle.note(type(error)):
                    log.warning("events cannot be read: %s %s", self._explain(error), note)
                return None
        seen = [event for event in reversed(self._newest) if access.sees(event.camera)]
        return EventPage(tuple(seen[:_SENT]), None)
