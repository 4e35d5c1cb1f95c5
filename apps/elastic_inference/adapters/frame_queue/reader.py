"""Reads the frame queues of all types: which types and sources there are, and how many frames wait.

Called by the gateway, housekeeping and `ei-status`, on their event loops. Uses no HTTP.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.redis_connection import connect_async, connect_nodes_async, is_cluster
from elastic_inference.adapters.redis_input import read_name, read_number, read_text
from elastic_inference.base import config
from elastic_inference.domain import keys

log = logging.getLogger(__name__)

SOURCE_SEEN_MS = 10_000
SOURCE_LISTED_MS = 60_000
TYPES_EVERY_S = 10.0
# A key space of at most this many keys is cheap to scan: there a new type is found within a second. The pause is a
# little shorter than the callers' rounds of a second, so that none is missed.
FEW_KEYS = 5_000
FEW_KEYS_EVERY_S = 0.9
_SCAN_COUNT = 1000
MAX_SOURCES = 4096
# Anyone who may push can invent types, and each costs round trips and labels.
MAX_TYPES = 256
TOO_MANY_TYPES_EVERY_S = 60.0
_TYPE_PATTERNS = ("queue_*", "{queue_*}:[st]o[uk]*s")
_TYPE_KEY = re.compile(r"queue_(?P<legacy>[^:{}]+)|\{queue_(?P<own>[^:{}]+)\}:(?:sources|tokens)")


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A producer's report about its source. `last_seen` is in Unix seconds by the Redis clock."""

    name: str
    type: str
    state: str
    fps: float
    reconnects: int
    dropped: int
    last_seen: float


class QueueClients:
    """Connections to the queue's Redis: one, or one for each type in a Redis Cluster."""

    def __init__(self, target: config.RedisTarget, name: str) -> None:
        """`name` shows in Redis' CLIENT LIST."""
        self.target = target
        self.name = name
        self.cluster = is_cluster(target)
        self._clients: dict[str, redis.asyncio.Redis] = {}

    def of(self, infer_type: str) -> redis.asyncio.Redis:
        """The client for the keys of a type."""
        key = keys.legacy_queue(infer_type) if self.cluster else ""
        if key not in self._clients:
            self._clients[key] = connect_async(self.target, key=key or None, name=self.name)
        return self._clients[key]

    async def close(self) -> None:
        """Closes every connection."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()


class QueueReader:
    """Reads the queues of all types. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, target: config.RedisTarget, name: str = "") -> None:
        """`name` shows in Redis' CLIENT LIST."""
        self.clients = QueueClients(target, name)

    async def types(self) -> list[str]:
        """Inference types that have a queue or a producer now, sorted. Scans the key space: see `KnownTypes`."""
        return (await self.scan_types())[0]

    async def scan_types(self) -> tuple[list[str], int]:
        """`types`, and how many keys the scan walked on the fullest server, to the next thousand."""
        found: set[str] = set()
        walked = 0
        clients = self.clients
        nodes = await connect_nodes_async(clients.target, clients.name) if clients.cluster else [clients.of("")]
        try:
            for node in nodes:
                for pattern in _TYPE_PATTERNS:
                    walked = max(walked, await _scan(node, pattern, found))
        finally:
            if clients.cluster:
                for node in nodes:
                    await node.aclose()
        return sorted(found), walked

    async def length(self, infer_type: str) -> int:
        """Frames that wait, legacy ones included."""
        pipe = self.clients.of(infer_type).pipeline(transaction=False)
        pipe.llen(keys.tokens(infer_type))
        pipe.llen(keys.legacy_queue(infer_type))
        return int(sum(await pipe.execute()))

    async def sources(self, infer_type: str, limit: int = MAX_SOURCES) -> list[SourceInfo]:
        """Sources that reported within the last 10 s, sorted by name; at most `limit`, the latest."""
        client = self.clients.of(infer_type)
        clock: Any = await client.time()
        now_ms = clock[0] * 1000 + clock[1] // 1000
        # The janitor's upper bound, not +inf: the Redis user `camera` can write any score.
        bounds = (now_ms - SOURCE_SEEN_MS, now_ms + SOURCE_LISTED_MS, limit)
        arguments = (script("sources").sha, 1, keys.sources(infer_type), keys.queue_prefix(infer_type), *bounds)
        reply: Any
        try:
            reply = await client.evalsha(*arguments)
        except NoScriptError:
            await client.script_load(script("sources").text)
            reply = await client.evalsha(*arguments)
        found = (_source(infer_type, reply[start : start + 6]) for start in range(0, len(reply), 6))
        return sorted(filter(None, found), key=lambda source: source.name)

    async def janitor_runs(self, infer_type: str) -> bool:
        """Whether a janitor has taken the lock of this type within the last second."""
        return bool(await self.clients.of(infer_type).exists(keys.janitor_lock(infer_type)))

    async def ping(self) -> None:
        """Asks the server for an answer, to see whether it is available."""
        await self.clients.of("").ping()

    async def memory(self) -> tuple[int, int]:
        """(bytes used, maxmemory) of the server; in a Redis Cluster, of one node. 0 means unlimited."""
        found = await self.clients.of("").info("memory")
        return found["used_memory"], found["maxmemory"]

    async def connections(self) -> tuple[int, int]:
        """(open connections, maxclients) of the server; in a Redis Cluster, of one node. 0 means unknown."""
        found = await self.clients.of("").info("clients")
        return found["connected_clients"], found.get("maxclients", 0)

    async def close(self) -> None:
        """Closes every connection."""
        await self.clients.close()


class KnownTypes:
    """The types in use, at most MAX_TYPES, known ones first. Read every 10 s, or every second if there are few keys."""

    def __init__(self, reader: QueueReader) -> None:
        self.names: tuple[str, ...] = ()
        self._reader = reader
        self._seen_at: dict[str, float] = {}
        self._due_at = float("-inf")
        self._too_many_logged_at = float("-inf")

    async def refresh(self) -> bool:
        """Reads the types if they are due, and returns whether it did. Raises REDIS_ERRORS."""
        now = time.monotonic()
        if now < self._due_at:
            return False
        found, keys_walked = await self._reader.scan_types()
        # Some seconds longer than they have keys: a legacy queue has none whenever it is empty.
        kept = {name: at for name, at in self._seen_at.items() if now - at < TYPES_EVERY_S}
        self.names = self._bounded(sorted({*kept, *found}), now)
        self._seen_at = {name: now if name in found else kept[name] for name in self.names}
        self._due_at = now + (TYPES_EVERY_S if keys_walked > FEW_KEYS else min(TYPES_EVERY_S, FEW_KEYS_EVERY_S))
        return True

    def expire(self) -> None:
        """Makes the next `refresh` read again."""
        self._due_at = float("-inf")

    def _bounded(self, types: Sequence[str], now: float) -> tuple[str, ...]:
        if len(types) > MAX_TYPES and now - self._too_many_logged_at >= TOO_MANY_TYPES_EVERY_S:
            self._too_many_logged_at = now
            log.warning("the queue has %d inference types: only %d are served", len(types), MAX_TYPES)
        known = set(self.names)
        return tuple(sorted(sorted(types, key=lambda name: (name not in known, name))[:MAX_TYPES]))


async def _scan(node: redis.asyncio.Redis, pattern: str, found: set[str]) -> int:
    """Adds the types of the keys that match to `found`. Returns how many keys were walked, to the next thousand."""
    cursor, walked = 0, 0
    while True:
        reply: Any = await node.scan(cursor, match=pattern, count=_SCAN_COUNT)
        cursor, batch = int(reply[0]), reply[1]
        walked += _SCAN_COUNT
        for key in batch:
            match = _TYPE_KEY.fullmatch(key.decode(errors="replace"))
            name = match and (match["legacy"] or match["own"])
            if name and keys.is_name(name):
                found.add(name)
        if not cursor:
            return walked


def _source(infer_type: str, row: Sequence[object]) -> SourceInfo | None:
    raw_name, seen_ms, state, fps, reconnects, dropped = row
    name = read_name(raw_name)
    if name is None:
        return None
    return SourceInfo(
        name=name,
        type=infer_type,
        state=read_text(state)[:32],
        fps=read_number(fps),
        reconnects=int(read_number(reconnects)),
        dropped=int(read_number(dropped)),
        last_seen=read_number(seen_ms) / 1000,
    )
