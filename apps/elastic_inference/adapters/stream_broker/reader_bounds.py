"""Bounds the memory that readers of `results_<type>` take in the broker's Redis: groups and what they keep. asyncio.

Called by housekeeping. The user `reader` may create any number of groups, for types that do not exist too, and Redis
keeps what a group has not acknowledged. Without bounds, everybody's frames would be refused at last.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import NoPermissionError, ResponseError

from elastic_inference.adapters.redis_connection import connect_async, connect_nodes_async, is_cluster
from elastic_inference.adapters.redis_input import read_count, read_name
from elastic_inference.base import config
from elastic_inference.domain import keys

# Groups of one stream. Their names are never listed: a client can make them as long as the largest frame.
MAX_GROUPS = 256
# Streams without a result, which readers have created for types that have no pod yet, and the memory of each.
MAX_EMPTY = 256
MAX_EMPTY_BYTES = 64 * 1024
# While more than this share of `maxmemory` is in use, for as many looks as FULL_LOOKS, only streams with few groups and
# little memory stay: a stream without a result may then take FEW_BYTES, and one with results LARGE of the limit. A
# reader that only waits stays: 16 groups of it take 3.5 kB. A flood of frames ends sooner: see `frame_queue.relief`.
NEARLY_FULL = 0.75
FULL_LOOKS = 5
FEW_GROUPS = 16
FEW_BYTES = 8 * 1024
LARGE = 0.1
PAUSE_S = 1.0
# Keys that one look goes through; while it removes some, it goes on for this long.
_SHARE, _SCAN_COUNT = 2000, 1000
_LOOK_S = 0.4
_PREFIX = keys.results("")


@dataclass(slots=True)
class Removed:
    """How many streams a look has removed; `stream` is the name of one of them, as it came from Redis."""

    streams: int = 0
    stream: bytes = b""


class ReaderBounds:
    """One replica's looks. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, target: config.RedisTarget, name: str) -> None:
        """`name` is that of the connections. The caller closes this object."""
        self._target, self._name = target, name
        self._nodes: list[aioredis.Redis] = []
        self._turn = self._cursor = 0
        self._full_looks = 0
        # Streams without a result that may stay, of the last scan and of this one.
        self._kept: set[bytes] = set()
        self._found: set[bytes] = set()

    async def look(self) -> Removed:
        """Looks at some of the keys, and removes streams whose readers keep too much; call it every second.

        In a Redis Cluster, one server after another. Raises NoPermissionError for a user without the rights.
        """
        try:
            return await self._look()
        except Exception:
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connections."""
        nodes, self._nodes = self._nodes, []
        self._turn = self._cursor = 0
        for node in nodes:
            await node.aclose()

    async def _look(self) -> Removed:
        removed = Removed()
        started, seen = time.monotonic(), 0
        node = await self._node()
        memory: Any = await node.info("memory")
        limit = int(memory["maxmemory"])
        full = limit > 0 and memory["used_memory"] > NEARLY_FULL * limit
        self._full_looks = self._full_looks + 1 if full else 0
        most = int(LARGE * limit) if self._full_looks >= FULL_LOOKS else None
        while seen < _SHARE or removed.streams:
            reply: Any = await node.scan(self._cursor, match=f"{_PREFIX}*", count=_SCAN_COUNT)
            cursor, names = reply
            await self._bound(node, names, most, removed)
            self._cursor, seen = int(cursor), seen + _SCAN_COUNT
            if not self._cursor:
                await self._end_scan()
                break
            if time.monotonic() - started > _LOOK_S:
                break
        return removed

    async def _node(self) -> aioredis.Redis:
        if not self._nodes:
            target, name = self._target, self._name
            clustered = is_cluster(target)
            self._nodes = await connect_nodes_async(target, name) if clustered else [connect_async(target, name=name)]
        return self._nodes[self._turn]

    async def _end_scan(self) -> None:
        self._turn += 1
        if self._turn < len(self._nodes):
            return
        self._turn = 0
        self._kept, self._found = self._found, set()
        if is_cluster(self._target):
            await self.close()  # its servers may change

    async def _bound(self, node: aioredis.Redis, names: Sequence[bytes], most: int | None, removed: Removed) -> None:
        """`most` is the memory that a stream with groups may take, if Redis is nearly full."""
        async with node.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.xinfo_stream(name)
                pipe.memory_usage(name, samples=1)
            replies = await pipe.execute(raise_on_error=False)
        gone = []
        for name, stream, used in zip(names, replies[::2], replies[1::2], strict=True):
            if isinstance(stream, ResponseError) and not isinstance(stream, NoPermissionError):
                continue  # it has gone, or is no stream: pods remove such a key
            if isinstance(stream, Exception):
                raise stream
            if not self._may_stay(name, stream, read_count(used), most):
                gone.append(name)
        if gone:
            # One by one: in a cluster, a command takes keys of one slot only.
            async with node.pipeline(transaction=False) as pipe:
                for name in gone:
                    pipe.unlink(name)
                await pipe.execute()
            removed.streams, removed.stream = removed.streams + len(gone), gone[0]

    def _may_stay(self, name: bytes, stream: dict[str, Any], used: int, most: int | None) -> bool:
        length, groups = read_count(stream.get("length")), read_count(stream.get("groups"))
        if length:
            too_much = most is not None and (groups > FEW_GROUPS or used > most)
            return not groups or (groups <= MAX_GROUPS and not too_much)
        # Those that are known longest stay.
        known = name in self._kept or name in self._found
        room = known or len(self._kept | self._found) < MAX_EMPTY
        valid = read_name(name.removeprefix(_PREFIX.encode())) is not None
        most_groups, most_bytes = (MAX_GROUPS, MAX_EMPTY_BYTES) if most is None else (FEW_GROUPS, FEW_BYTES)
        if not (room and valid and groups <= most_groups and used <= most_bytes):
            return False
        self._found.add(name)
        return True
