"""Reads the registry of streams and workers, and marks streams as watched. asyncio.

Called by the gateway, the relay and housekeeping. Uses the broker's keys, but no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import redis.asyncio as aioredis

from elastic_inference.adapters.stream_broker.records import (
    LONGEST_LIFE_S,
    WATCH_LIFE_S,
    StreamInfo,
    WorkerInfo,
    parse_stream,
    parse_worker,
)
from elastic_inference.domain import keys

# Hashes read per round trip, so that thousands of streams do not make one huge answer.
_CHUNK = 500
# Streams or pods that are read; names come from clients.
MAX_LISTED = 10_000


class StreamRegistry:
    """Reads the registry. Every call raises one of `redis_connection.REDIS_ERRORS` when Redis is unavailable."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client

    async def streams(self) -> list[StreamInfo]:
        """Streams inferred within the last 10 s or three frame intervals, sorted by id."""
        found = []
        for member, score, fields in await self._read(keys.STREAMS, keys.stream_info):
            stream = parse_stream(member, fields, score)
            if stream is not None:
                found.append(stream)
        return sorted(found, key=lambda each: each.id)

    async def workers(self) -> list[WorkerInfo]:
        """Pods that reported within the last 15 s, sorted by type and name."""
        found = []
        for member, score, fields in await self._read(keys.WORKERS, _worker_key):
            worker = parse_worker(member, fields, score)
            if worker is not None:
                found.append(worker)
        return sorted(found, key=lambda each: (each.type, each.pod))

    async def exists(self, stream_id: str) -> bool:
        """Whether the stream is inferred now."""
        return bool(await self._client.exists(keys.stream_info(stream_id)))

    async def watch(self, stream_ids: Iterable[str]) -> None:
        """Marks these streams as watched for 10 s; call it every 3 s while they are."""
        wanted = list(stream_ids)
        if not wanted:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            for each in wanted:
                pipe.set(keys.watch(each), 1, ex=int(WATCH_LIFE_S))
            await pipe.execute()

    async def _read(self, index: str, key_of: Callable[[str], str]) -> list[tuple[str, float, dict[bytes, bytes]]]:
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            # The highest scores, and no more than can be read in time.
            pipe.zrange(index, -MAX_LISTED, -1, withscores=True)
            (seconds, _micros), members = await pipe.execute(raise_on_error=False)
        if isinstance(members, Exception):
            if not str(members).startswith("WRONGTYPE"):
                raise members
            members = []  # a foreign key: pods remove it with their next report
        oldest_ms = (seconds - LONGEST_LIFE_S) * 1000
        wanted = [(raw.decode(errors="replace"), float(score)) for raw, score in members if float(score) >= oldest_ms]
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
        return rows


def _worker_key(member: str) -> str:
    kind, _, pod = member.partition(":")
    return keys.worker_info(kind, pod)
