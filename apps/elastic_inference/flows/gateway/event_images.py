"""Serves the images of events to clients: finds them by event, and waits while they are being fetched.

Called by the handler in `api_events`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import replace

from redis.exceptions import RedisError

from elastic_inference.adapters.event_store.image_reader import ImageReader, NoImageError
from elastic_inference.domain.events.event import Event
from elastic_inference.domain.events.images import FRAME_NUMBER
from elastic_inference.flows.gateway.access import Access
from elastic_inference.flows.gateway.event_reader import READ_LIMIT_S, EventReader
from elastic_inference.flows.gateway.login_places import LoginQueues

# An event may arrive a moment before its image does.
WAIT_S = 3.0
_EVERY_S = 0.1
# An event may even arrive before its image was asked for.
_FIRST_WAIT_S = 0.3
# The images of younger events may still come.
_FRESH_S = 30.0
# Maximum number of images in memory, for all clients.
MAX_READS = 4
_ADDRESS = re.compile(rf"[?]image=({FRAME_NUMBER.pattern})$")


class EventImages:
    """The images, for all clients of the gateway."""

    def __init__(self, source: ImageReader, events: EventReader) -> None:
        self._source = source
        self._events = events
        self._places = LoginQueues(MAX_READS)

    async def best(self, access: Access, event_id: str) -> str:
        """The address of the image in an event's newest revision. Raises NoImageError, and as `read`."""
        event = await self._events.event(access, event_id)
        if event is None:
            raise NoImageError(f"There is no event {event_id[:300]!r}, or it is too old.")
        found = _ADDRESS.search(event.snapshot or "")
        if found is None:
            raise NoImageError(event.snapshot_reason or "This event has no image.")
        return found[1]

    async def checked(self, events: Sequence[Event]) -> tuple[Event, ...]:
        """The events; those whose image is not kept any more have the reason instead of its address.

        If this can't be found out now, the events stay as they are.
        """
        oldest_ms = (time.time() - _FRESH_S) * 1000
        images = {
            index: f"{event.id.partition('/')[0]}/{found[1]}"
            for index, event in enumerate(events)
            if event.at_ms < oldest_ms and (found := _ADDRESS.search(event.snapshot or ""))
        }
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                reasons = await self._source.why_gone(list(images.values()))
        except (RedisError, OSError, TimeoutError):
            return tuple(events)
        gone = dict(zip(images, reasons, strict=True))
        return tuple(
            replace(event, snapshot=None, snapshot_box=None, snapshot_reason=gone[index]) if gone.get(index) else event
            for index, event in enumerate(events)
        )

    async def read(self, access: Access, event_id: str, frame: str) -> bytes:
        """The JPEG. Raises NoImageError; RedisError, OSError or TimeoutError if it cannot be read now."""
        stream = event_id.partition("/")[0]
        if not access.sees(stream.partition(":")[0]):
            raise NoImageError(f"There is no event {event_id[:300]!r}, or it is too old.")
        began_s = asyncio.get_running_loop().time()
        while True:
            try:
                async with self._places.place(access), asyncio.timeout(READ_LIMIT_S):
                    return await self._source.read(f"{stream}/{frame}")
            except NoImageError as error:
                limit_s = WAIT_S if error.coming else _FIRST_WAIT_S
                if asyncio.get_running_loop().time() - began_s >= limit_s:
                    raise
            await asyncio.sleep(_EVERY_S)
