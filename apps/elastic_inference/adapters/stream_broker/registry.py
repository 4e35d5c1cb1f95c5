"""Reads the registry of streams and workers, and marks streams as watched. asyncio.

Called by the gateway, the relay and housekeeping. Uses the broker's keys, but no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import redis.asyncio as aioredis

from elastic_inference.adapters.redis_input import read_number
from elastic_inference.adapters.stream_broker.lifetimes import (
    LONGEST_LIFE_S,
    STREAM_AHEAD_S,
    WATCH_LIFE_S,
    WORKER_AHEAD_S,
    lies_ahead,
)
from elastic_inference.domain import keys

if TYPE_CHECKING:
    from elastic_inference.adapters.stream_broker.records import StreamInfo, WorkerInfo

# The websocket server reads no records.
# ruff: noqa: PLC0415

# Hashes read per round trip, so that thousands of streams do not make one huge answer.
_CHUNK = 500
# Maximum number of streams or pods that are read: clients can invent names.
MAX_LISTED = 10_000


class StreamRegistry:
    """Reads the registry. Every call raises one of `redis_connection.REDIS_ERRORS` when Redis is unavailable."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client

    async def streams(self) -> list[StreamInfo]:
        """Streams inferred within the last 10 s or three frame intervals, sorted by id."""
        from elastic_inference.adapters.stream_broker.records import parse_stream

        found = []
        now_s, rows = await self._read(keys.STREAMS, keys.stream_info, STREAM_AHEAD_S)
        for member, score, fields in rows:
            stream = parse_stream(member, fields, score)
            if stream is not None and not lies_ahead(stream.last_seen, now_s):
                found.append(stream)
        return sorted(found, key=lambda each: each.id)

    async def workers(self) -> list[WorkerInfo]:
        """Pods that reported within the last 15 s, sorted by type and name."""
        return (await self.reports())[1]

    async def reports(self) -> tuple[float, list[WorkerInfo]]:
        """Redis' time, in Unix seconds, and what `workers` returns."""
        from elastic_inference.adapters.stream_broker.records import parse_worker

        found = []
        now_s, rows = await self._read(keys.WORKERS, _worker_key, WORKER_AHEAD_S)
        for member, score, fields in rows:
            worker = parse_worker(member, fields, score)
            if worker is not None:
                found.append(worker)
        return now_s, sorted(found, key=lambda each: (each.type, each.pod))

    async def up_s(self) -> float | None:
        """How long the server has run, in seconds; None if that is unknown. Not for a Redis Cluster."""
        found: Any = await self._client.info("server")
        up_s = found.get("uptime_in_seconds")
        return float(up_s) if isinstance(up_s, int) else None

    async def exists(self, stream_id: str) -> bool:
        """Whether the stream is inferred now."""
        key = keys.stream_info(stream_id)
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.exists(key)
            pipe.hget(key, "seen_ms")
            now, exists, seen_ms = await pipe.execute(raise_on_error=False)
        for answer in (now, exists):
            if isinstance(answer, Exception):
                raise answer
        # Pods of an older version write no time.
        return bool(exists) and not lies_ahead(read_number(seen_ms) / 1000, now[0])

    async def watch(self, stream_ids: Iterable[str]) -> None:
        """Marks these streams as watched for 10 s; call it every 3 s while they are."""
        wanted = list(stream_ids)
        if not wanted:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            for each in wanted:
                pipe.set(keys.watch(each), 1, ex=int(WATCH_LIFE_S))
            await pipe.execute()

    async def shorten_watches(self) -> None:
        """Shortens watches that would live for more than 10 s; call it every 10 s.

        Redis expires keys by its own clock. If that is set back by an hour, watches would stay for an hour, and pods
        would publish images that nobody watches.
        """
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.zrange(keys.STREAMS, -MAX_LISTED, -1)
            (found,) = await pipe.execute(raise_on_error=False)
        names = _members(found)
        for start in range(0, len(names), _CHUNK):
            async with self._client.pipeline(transaction=False) as pipe:
                for name in names[start : start + _CHUNK]:
                    pipe.pexpire(keys.watch(name.decode(errors="replace")), int(WATCH_LIFE_S * 1000), lt=True)
                # An older users.acl may lack the right.
                await pipe.execute(raise_on_error=False)
            await asyncio.sleep(0)

    async def _read(
        self, index: str, key_of: Callable[[str], str], ahead_s: float
    ) -> tuple[float, list[tuple[str, float, dict[bytes, bytes]]]]:
        """Redis' time, and each member with its score and hash, except those with a score too old or too far ahead."""
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            # Only the highest scores: more could not be read in time.
            pipe.zrange(index, -MAX_LISTED, -1, withscores=True)
            (seconds, _micros), members = await pipe.execute(raise_on_error=False)
        members = _members(members)
        oldest_ms, latest_ms = (seconds - LONGEST_LIFE_S) * 1000, (seconds + ahead_s) * 1000
        wanted = [
            (raw.decode(errors="replace"), float(score))
            for raw, score in members
            if oldest_ms <= float(score) <= latest_ms
        ]
        rows: list[tuple[str, float, dict[bytes, bytes]]] = []
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            async with self._client.pipeline(transaction=False) as pipe:
                for member, _ in chunk:
                    pipe.hgetall(key_of(member))
                answers = await pipe.execute(raise_on_error=False)
            for (member, score), fields in zip(chunk, answers, strict=True):
                if isinstance(fields, dict):
                    rows.append((member, score, fields))
                elif not str(fields).startswith("WRONGTYPE"):
                    raise fields
            await asyncio.sleep(0)
        return seconds, rows


def _members(answer: Any) -> list[Any]:
    """The members of a sorted set, from Redis' reply; raises the reply if it is an error."""
    if isinstance(answer, Exception):
        if not str(answer).startswith("WRONGTYPE"):
            raise answer
        return []  # a foreign key: pods remove it with their next report
    return list(answer)


def _worker_key(member: str) -> str:
    kind, _, pod = member.partition(":")
    return keys.worker_info(kind, pod)
