"""Takes memory from the inference type that has most of it, before Redis is full and refuses everybody's frames.

Called by housekeeping, on its event loop. Redis knows no bound for a login. A login that is limited to its own types
(doc/security.md) is bounded by theirs.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.reader import QueueClients
from elastic_inference.adapters.frame_queue.scripts import script

# Above this share of `maxmemory` types lose what they have too much, until this much is in use.
HIGH, LOW = 0.7, 0.6
# All types without a pod count as one: anyone who may push can invent them.
NO_PODS = "(no pods)"
# A type that has less than this share of what was weighed takes no part in the division.
_SMALL = 0.02
# Keys are spread at random, so a part of them shows how memory is shared.
_WEIGH_S, _WEIGH_KEYS = 0.15, 20_000
_RELIEF_S = 0.6
_SCAN_COUNT = 500
# Lists and hashes of a type with pods are far smaller.
_LARGE_BYTES = 256 * 1024
_KEY = re.compile(rb"\{queue_([^:{}]+)\}:([a-z]+)(?::.*)?|queue_([^:{}]+)", re.DOTALL)
_QUEUE_KEYS = (b"queue_", b"{queue_")


class MemoryRelief:
    """One replica's. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, clients: QueueClients) -> None:
        """The caller closes the clients. In a Redis Cluster it does nothing."""
        self._clients = clients
        self._cursor = 0
        # The type that had most of what was taken last.
        self.largest = ""

    async def relieve(self, used: int, limit: int, with_pods: Collection[str]) -> Mapping[str, int]:
        """Call it every second with the bytes in use and `maxmemory`. Returns how many it took from which type.

        A type keeps its share: what may be in use, divided among the types that have a part of it. Frames that wait
        are then found to be stale, and counted.
        """
        if self._clients.cluster or limit <= 0 or used <= HIGH * limit:
            return {}
        started, client = time.monotonic(), self._clients.of("")
        weights: Counter[str] = Counter()
        types: Counter[tuple[str, str]] = Counter()
        found: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
        seen, complete = 0, False
        async for weighed, ended in self._keys(client):
            for key, size in weighed:
                group, infer_type, _ = _group(key, with_pods)
                weights[group] += size
                types[group, infer_type] += size
                found[group].append((key, size))
            seen, complete = seen + len(weighed), ended
            if seen >= _WEIGH_KEYS or time.monotonic() - started > _WEIGH_S:
                break
        total = weights.total()
        if not total:
            return {}
        group, most = weights.most_common(1)[0]
        has = most if complete else most * used // total
        fair = int(LOW * limit) // sum(size >= _SMALL * total for size in weights.values())
        excess = min(has - fair, used - int(LOW * limit))
        if excess <= 0:
            return {}
        self.largest = max((size, name) for (each, name), size in types.items() if each == group)[1]
        taken = await _remove(client, found[group], excess, fair, with_pods)
        async for weighed, _ in self._keys(client):
            if taken >= excess or time.monotonic() - started > _RELIEF_S:
                break
            own = [(key, size) for key, size in weighed if _group(key, with_pods)[0] == group]
            taken += await _remove(client, own, excess - taken, fair, with_pods)
        return {group: taken} if taken else {}

    async def _keys(self, client: Redis) -> AsyncIterator[tuple[list[tuple[bytes, int]], bool]]:
        """Keys of queues with their bytes, a part at a time, to the end of a pass; and whether this is all of them."""
        from_start = self._cursor == 0
        while True:
            reply: Any = await client.scan(self._cursor, count=_SCAN_COUNT)
            self._cursor = int(reply[0])
            names = [key for key in reply[1] if key.startswith(_QUEUE_KEYS)]
            yield list(zip(names, await _weigh(client, names), strict=True)), from_start and not self._cursor
            if not self._cursor:
                return


def _group(key: bytes, with_pods: Collection[str]) -> tuple[str, str, bytes]:
    """The type that pays for the key, the key's own type, and its kind."""
    match = _KEY.fullmatch(key)
    if match is None:
        return NO_PODS, "", b""
    infer_type = (match[1] or match[3]).decode(errors="replace")
    return infer_type if infer_type in with_pods else NO_PODS, infer_type, match[2] or b"legacy"


async def _weigh(client: Redis, names: list[bytes]) -> list[int]:
    if not names:
        return []
    weigh = script("weigh")
    reply: Any
    try:
        reply = await client.evalsha(weigh.sha, 0, *names)
    except NoScriptError:
        await client.script_load(weigh.text)
        reply = await client.evalsha(weigh.sha, 0, *names)
    return [int(size) for size in reply]


async def _remove(
    client: Redis, found: list[tuple[bytes, int]], excess: int, fair: int, with_pods: Collection[str]
) -> int:
    """Removes keys until `excess` bytes are free; returns how many are."""
    chosen, taken = [], 0
    for key, size in found:
        if taken >= excess:
            break
        group, _, kind = _group(key, with_pods)
        if _may_go(group, kind, size, fair):
            chosen.append(key)
            taken += size
    if chosen:
        await client.unlink(*chosen)
    return taken


def _may_go(group: str, kind: bytes, size: int, fair: int) -> bool:
    """Frames go first of all. Frames that a pod holds stay, and lists of a type with pods unless they are too large."""
    if kind == b"frame":
        return True
    if kind == b"taken":
        return False
    if kind in {b"legacy", b"plain"} and group != NO_PODS:
        return size > fair // 2
    return group == NO_PODS or size > _LARGE_BYTES
