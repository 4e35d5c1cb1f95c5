"""Reads the frame queues of all types: which types and sources there are, and how many frames wait.

Called by the gateway, housekeeping and `ei-status`, on their event loops. Uses no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.frame_queue.type_turns import TypeTurns
from elastic_inference.adapters.redis_connection import connect_async, connect_nodes_async, is_cluster
from elastic_inference.adapters.redis_input import (
    MAX_DROPS_A_SECOND,
    is_wrong_type,
    read_name,
    read_number,
    read_text,
)
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
# Limits of one step of a scan. A client can write millions of keys: a pass then takes many steps.
KEYS_A_STEP = 200_000
STEP_S = 0.3
MAX_SOURCES = 4096
# Anyone who may push can invent types, and each costs round trips and labels.
MAX_TYPES = 256
# Maximum number of names that a pass remembers besides the preferred ones; beyond that, a random sample.
_MAX_FOUND = 8192
TOO_MANY_TYPES_EVERY_S = 60.0
_TYPE_PATTERNS = ("queue_*", "{queue_*}:[pst]o[duk]*s")
_TYPE_KEY = re.compile(r"queue_(?P<legacy>[^:{}]+)|\{queue_(?P<own>[^:{}]+)\}:(?:sources|tokens|(?P<pods>pods))")


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
        self._nodes: set[redis.asyncio.Redis] = set()

    def of(self, infer_type: str) -> redis.asyncio.Redis:
        """The client for the keys of a type."""
        key = keys.legacy_queue(infer_type) if self.cluster else ""
        if key not in self._clients:
            self._clients[key] = connect_async(self.target, key=key or None, name=self.name)
        return self._clients[key]

    async def open_nodes(self) -> list[redis.asyncio.Redis]:
        """One client for each server of a Redis Cluster, for `close_nodes`. Raises REDIS_ERRORS."""
        nodes = await connect_nodes_async(self.target, self.name)
        self._nodes.update(nodes)
        return nodes

    async def close_nodes(self, nodes: Iterable[redis.asyncio.Redis]) -> None:
        """Closes what `open_nodes` opened."""
        for node in nodes:
            await node.aclose()
            self._nodes.discard(node)

    async def close(self) -> None:
        """Closes every connection, those of a pass in progress too."""
        clients = [*self._clients.values(), *self._nodes]
        self._clients.clear()
        self._nodes.clear()
        for client in clients:
            await client.aclose()


class QueueReader:
    """Reads the queues of all types. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, target: config.RedisTarget, name: str = "") -> None:
        """`name` shows in Redis' CLIENT LIST."""
        self.clients = QueueClients(target, name)

    async def types(self) -> list[str]:
        """Inference types that have a queue or a producer now, sorted. Scans the whole key space: see `KnownTypes`."""
        scan = self.type_scan()
        try:
            while not await scan.step():
                pass
        finally:
            await scan.close()
        return sorted(scan.found)

    def type_scan(self) -> TypeScan:
        """A new pass through the key space."""
        return TypeScan(self.clients)

    async def length(self, infer_type: str) -> int:
        """Frames that wait, legacy ones included. Raises ResponseError if a key of the queue has a wrong type."""
        return int(sum(await self._lengths_of([infer_type]).execute()))

    async def lengths(self, infer_types: Sequence[str]) -> list[int]:
        """As `length` for each type, but 0 for a key of a wrong type; one round trip, in a Redis Cluster one per type.

        So one broken queue silences no other.
        """
        counts: list[int] = []
        for types in [[each] for each in infer_types] if self.clients.cluster else [infer_types]:
            counts += [_count(reply) for reply in await self._lengths_of(types).execute(raise_on_error=False)]
        return [tokens + legacy for tokens, legacy in zip(counts[::2], counts[1::2], strict=True)]

    def _lengths_of(self, infer_types: Sequence[str]) -> Any:
        """A pipeline that asks for the two lists of each type. All types must be on one server."""
        pipe = self.clients.of(infer_types[0] if infer_types else "").pipeline(transaction=False)
        for each in infer_types:
            pipe.llen(keys.tokens(each))
            pipe.llen(keys.legacy_queue(each))
        return pipe

    async def sources(self, infer_type: str, limit: int = MAX_SOURCES) -> list[SourceInfo]:
        """Sources that reported within the last 10 s, sorted by name; at most `limit`, the latest."""
        clock: Any = await self.clients.of(infer_type).time()
        now_ms = clock[0] * 1000 + clock[1] // 1000
        # The janitor's upper bound, not +inf: the Redis user `camera` can write any score.
        bounds = (now_ms - SOURCE_SEEN_MS, now_ms + SOURCE_LISTED_MS, limit)
        prefix = keys.queue_prefix(infer_type)
        reply = await self._read(infer_type, "sources", keys.sources(infer_type), prefix, *bounds)
        found = (_source(infer_type, reply[start : start + 6]) for start in range(0, len(reply), 6))
        return sorted(filter(None, found), key=lambda source: source.name)

    async def unserved_drop_fps(self, infer_type: str) -> float:
        """Frames per second that the queue of a type without pods drops, by what housekeeping claims."""
        reply = await self._read(infer_type, "unserved", keys.dropped(infer_type))
        return read_number(reply, MAX_DROPS_A_SECOND * 1000) / 1000

    async def _read(self, infer_type: str, name: str, key: str, *arguments: str | int) -> Any:
        """The reply of a script that reads one key of a type; loads the script if the server does not know it."""
        client = self.clients.of(infer_type)
        try:
            return await client.evalsha(script(name).sha, 1, key, *arguments)
        except NoScriptError:
            await client.script_load(script(name).text)
            return await client.evalsha(script(name).sha, 1, key, *arguments)

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


class TypeScan:
    """One pass through all keys for the names of types, in bounded steps. A step that is cancelled may be repeated."""

    def __init__(self, clients: QueueClients) -> None:
        self.found: set[str] = set()
        # Types that have or had a pod: only pods can write this mark.
        self.had_pods: set[str] = set()
        # Keys scanned so far on the fullest server, to the next thousand.
        self.walked = 0
        self._clients = clients
        self._nodes: list[redis.asyncio.Redis] | None = None
        self._left: list[tuple[redis.asyncio.Redis, str]] = []
        self._cursor = 0
        self._walked_here = 0
        self._drawn: list[str] = []
        self._finds = 0

    async def step(self, preferred: Collection[str] = ()) -> bool:
        """Scans the next keys, and returns whether the pass is complete. Raises REDIS_ERRORS.

        `found` takes each of the `preferred` names, however many others there are.
        """
        started, walked = time.monotonic(), 0
        if self._nodes is None:
            clients = self._clients
            nodes = await clients.open_nodes() if clients.cluster else [clients.of("")]
            self._nodes = nodes
            self._left = [(node, pattern) for node in nodes for pattern in _TYPE_PATTERNS]
        while self._left and walked < KEYS_A_STEP and time.monotonic() - started < STEP_S:
            node, pattern = self._left[0]
            reply: Any = await node.scan(self._cursor, match=pattern, count=_SCAN_COUNT)
            self._cursor = int(reply[0])
            self._take(reply[1], preferred)
            walked += _SCAN_COUNT
            self._walked_here += _SCAN_COUNT
            self.walked = max(self.walked, self._walked_here)
            if not self._cursor:
                self._left.pop(0)
                self._walked_here = 0
        return not self._left

    async def close(self) -> None:
        """Closes what the pass opened."""
        if self._clients.cluster:
            await self._clients.close_nodes(self._nodes or ())

    def _take(self, batch: Sequence[bytes], preferred: Collection[str]) -> None:
        for key in batch:
            match = _TYPE_KEY.fullmatch(key.decode(errors="replace"))
            name = match and (match["legacy"] or match["own"])
            if not match or not name or not keys.is_name(name):
                continue
            if match["pods"]:
                self.had_pods.add(name)
            elif name in preferred:
                self.found.add(name)
            elif name not in self.found:
                self._draw(name)

    def _draw(self, name: str) -> None:
        """Reservoir sampling: every name has the same chance to be kept, wherever SCAN finds it."""
        self._finds += 1
        if len(self._drawn) < _MAX_FOUND:
            self._drawn.append(name)
            self.found.add(name)
        elif (index := secrets.randbelow(self._finds)) < _MAX_FOUND:
            self.found.discard(self._drawn[index])
            self._drawn[index] = name
            self.found.add(name)


class KnownTypes:
    """The types in use, at most MAX_TYPES: first those with pods, then those that had one; the others take turns.

    Read every 10 s, or every second if there are few keys. If there are very many, a pass takes several rounds: what it
    finds is known at once, and a name is dropped after a whole pass without it.
    """

    def __init__(self, reader: QueueReader) -> None:
        self.names: tuple[str, ...] = ()
        # Those that have or had a pod, served or not.
        self.had_pods: frozenset[str] = frozenset()
        self._reader = reader
        self._scan: TypeScan | None = None
        self._reading = asyncio.Lock()
        self._with_pods: frozenset[str] = frozenset()
        self._turns = TypeTurns()
        self._seen_at: dict[str, float] = {}
        self._due_at = float("-inf")
        self._too_many_logged_at = float("-inf")

    def prefer(self, with_pods: Iterable[str]) -> None:
        """Says which types have pods: clients can invent any number of types, but not one with a pod."""
        self._with_pods = frozenset(with_pods)

    async def refresh(self) -> bool:
        """Reads the types, or some of them, if they are due, and returns whether it did. Raises REDIS_ERRORS."""
        # Several tasks of the gateway ask.
        async with self._reading:
            now = time.monotonic()
            if now < self._due_at:
                return False
            await self._read(now)
            return True

    def expire(self) -> None:
        """Makes the next `refresh` read again."""
        self._due_at = float("-inf")

    async def _read(self, now: float) -> None:
        scan = self._scan = self._scan or self._reader.type_scan()
        try:
            complete = await scan.step(self._with_pods.union(self.had_pods, self.names))
        except Exception:
            self._scan = None
            await scan.close()
            raise
        # Types stay listed for some seconds after their last key: a legacy queue has no key while it is empty.
        self.had_pods = frozenset(scan.had_pods if complete else scan.had_pods | self.had_pods)
        kept = {name: at for name, at in self._seen_at.items() if not complete or now - at < TYPES_EVERY_S}
        self.names = self._bounded({*kept, *scan.found}, now)
        self._seen_at = {name: now if name in scan.found else kept[name] for name in self.names}
        pause_s = min(TYPES_EVERY_S, FEW_KEYS_EVERY_S)
        if complete:
            self._scan = None
            await scan.close()
            pause_s = TYPES_EVERY_S if scan.walked > FEW_KEYS else pause_s
        self._due_at = now + pause_s

    def _bounded(self, types: Collection[str], now: float) -> tuple[str, ...]:
        if len(types) > MAX_TYPES and now - self._too_many_logged_at >= TOO_MANY_TYPES_EVERY_S:
            self._too_many_logged_at = now
            log.warning(
                "the queue has %d inference types: only %d are served at a time, those that have or had pods first",
                *(len(types), MAX_TYPES),
            )
        ours = [name for name in types if name in self._with_pods or name in self.had_pods]
        first = sorted(ours, key=lambda name: (name not in self._with_pods, name))[:MAX_TYPES]
        others = set(types).difference(ours)
        return tuple(sorted([*first, *self._turns.choose(others, MAX_TYPES - len(first), now)]))


def _count(reply: object) -> int:
    """The length of a list; 0 for a key of the wrong type, which the janitor removes. Raises what Redis refused."""
    if isinstance(reply, Exception) and not is_wrong_type(reply):
        raise reply
    return reply if isinstance(reply, int) else 0


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
