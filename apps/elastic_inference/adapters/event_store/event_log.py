"""Reads events back from the outboxes of all partitions, as one log, and counters. asyncio; called by the gateway.

The newest comes first, by the time when it was written. Every read is bounded, whatever the partitions hold.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis

from elastic_inference.adapters.event_store.entries import EntryId, before, read_id, write_id
from elastic_inference.adapters.redis_input import read_count
from elastic_inference.adapters.stream_broker.partitions import MAX_PARTITIONS
from elastic_inference.domain import keys
from elastic_inference.domain.errors import InvalidCountsError, InvalidEventError
from elastic_inference.domain.events.camera_counts import MAX_COUNTS_BYTES, CameraCounts, parse_counts
from elastic_inference.domain.events.event import MAX_EVENT_JSON_BYTES, Event, parse_event

# Entries of all partitions together that one page looks at, and that a search for one event does.
MAX_LOOKED_AT = 5_000
MAX_SEARCHED = 20_000
_CHUNK = 200
_AT_ONCE = 50
_FIELD = b"json"
_CURSOR = re.compile(r"(\d{1,19})-(\d{1,20})-(\d{1,3})")
# By time, number and partition.
LogPosition = tuple[EntryId, int]


@dataclass(frozen=True, slots=True)
class Found:
    """Events, the newest first, and where the next page begins; None at the end of the log."""

    events: tuple[Event, ...]
    next: LogPosition | None


def read_cursor(text: str) -> LogPosition | None:
    """Parses a `write_cursor`; None for anything else."""
    match = _CURSOR.fullmatch(text)
    position = read_id(f"{match[1]}-{match[2]}".encode()) if match else None
    return (position, int(match[3])) if match and position and int(match[3]) < MAX_PARTITIONS else None


def write_cursor(position: LogPosition) -> str:
    """Formats a position in the log as text."""
    return f"{write_id(position[0])}-{position[1]}"


class EventLog:
    """The log of one broker. Every method raises REDIS_ERRORS when Redis is unavailable, else ResponseError."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client
        self._partitions = 16

    async def partitions(self) -> int:
        """How many partitions there are, as the event service says; the last known number while none runs."""
        found = read_count(await self._client.get(keys.EVENTS_ON))
        if 0 < found <= MAX_PARTITIONS:
            self._partitions = found
        return self._partitions

    async def page(
        self, wanted: Callable[[Event], bool], limit: int, start: LogPosition | None, oldest_ms: float = 0.0
    ) -> Found:
        """At most `limit` events that are wanted, from `start` on backwards; fewer if it had to look at too many."""
        count = await self.partitions()
        upper = {each: self._upper(start, each) for each in range(count)}
        chunk = max(10, min(_CHUNK, 2 * MAX_LOOKED_AT // (3 * count)))
        events: list[Event] = []
        looked_at = 0
        while upper:
            rows = await self._newest(upper, chunk)
            looked_at += sum(map(len, rows.values()))
            # Of a partition with more rows, those below its last one are not known yet: nothing below the highest such
            # row is complete.
            ends = [found[-1][0] for each, found in rows.items() if len(found) >= chunk]
            floor = max(ends, default=None)
            merged = sorted((row for found in rows.values() for row in found), key=lambda row: row[0], reverse=True)
            last: LogPosition | None = None
            for number, (position, raw) in enumerate(merged, 1):
                if number % _AT_ONCE == 0:
                    # A search for what is rare parses thousands: other requests and live video go on meanwhile.
                    await asyncio.sleep(0)
                if floor is not None and position < floor:
                    break
                if position[0][0] < oldest_ms:
                    return Found(tuple(events), None)
                last = position
                event = _event(raw)
                if event is not None and wanted(event):
                    events.append(event)
                    if len(events) >= limit:
                        return Found(tuple(events), position)
            if floor is None:
                break
            if looked_at >= MAX_LOOKED_AT:
                return Found(tuple(events), last)
            upper = {each: self._upper(floor, each) for each in range(count)}
        return Found(tuple(events), None)

    async def find(self, event_id: str, camera: str) -> Event | None:
        """The newest revision of one event, among the newest of its camera's partition."""
        partition = keys.partition_of(camera, await self.partitions())
        needle = b'"id":"%b"' % event_id.encode(errors="replace")
        upper: dict[int, EntryId | None] = {partition: None}
        for _ in range(MAX_SEARCHED // _CHUNK):
            rows = (await self._newest(upper, _CHUNK))[partition]
            for _position, raw in rows:
                event = _event(raw) if needle in raw else None
                if event is not None and event.id == event_id:
                    return event
            if len(rows) < _CHUNK:
                return None
            upper = {partition: before(rows[-1][0][0])}
        return None

    async def counts(self, camera: str) -> CameraCounts | None:
        """What the zones and lines of a camera have counted; None without any, or if it cannot be read."""
        key, name = keys.event_states(keys.partition_of(camera, await self.partitions())), keys.camera_counts(camera)
        size = read_count(await self._client.hstrlen(key, name))
        raw = await self._client.hget(key, name) if 0 < size <= MAX_COUNTS_BYTES else None
        try:
            found = parse_counts(raw) if isinstance(raw, bytes) else None
        except InvalidCountsError:
            return None
        return found if found is not None and found.camera == camera else None

    async def newer(self, since: dict[int, EntryId], limit: int) -> list[tuple[LogPosition, Event]]:
        """Events after the given ones, at most `limit` of each partition, the oldest first. Updates `since`."""
        count = await self.partitions()
        async with self._client.pipeline(transaction=False) as pipe:
            for partition in range(count):
                known = since.get(partition)
                pipe.xrevrange(keys.events(partition), "+", f"({write_id(known)}" if known else "-", count=limit)
            replies = await pipe.execute()
        found: list[tuple[LogPosition, Event]] = []
        for partition, reply in enumerate(replies):
            for position, raw in _rows(reply, partition):
                since[partition] = max(since.get(partition, (0, 0)), position[0])
                event = _event(raw)
                if event is not None:
                    found.append((position, event))
        return sorted(found, key=lambda each: each[0])

    async def _newest(self, upper: dict[int, EntryId | None], count: int) -> dict[int, list[tuple[LogPosition, bytes]]]:
        async with self._client.pipeline(transaction=False) as pipe:
            for partition, top in upper.items():
                pipe.xrevrange(keys.events(partition), "+" if top is None else write_id(top), "-", count=count)
            replies = await pipe.execute()
        return {partition: _rows(reply, partition) for partition, reply in zip(upper, replies, strict=True)}

    @staticmethod
    def _upper(start: LogPosition | None, partition: int) -> EntryId | None:
        """Where to begin in a partition so that nothing of `start` or after it is read again."""
        if start is None:
            return None
        return start[0] if partition < start[1] else before(start[0])


def _rows(reply: Any, partition: int) -> list[tuple[LogPosition, bytes]]:
    """(position, JSON) of each entry that has one."""
    found = []
    for raw_id, fields in reply if isinstance(reply, list) else ():
        position = read_id(raw_id)
        if position is not None:
            document = fields.get(_FIELD) if isinstance(fields, dict) else None
            found.append(((position, partition), document if isinstance(document, bytes) else b""))
    return found


def _event(raw: bytes) -> Event | None:
    if not raw or len(raw) > MAX_EVENT_JSON_BYTES:
        return None
    try:
        return parse_event(raw)
    except InvalidEventError:
        return None
