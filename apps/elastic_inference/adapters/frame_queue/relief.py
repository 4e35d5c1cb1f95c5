"""Frees memory of the inference type that uses most, before Redis is full and refuses everybody's frames.

Called by housekeeping, on its event loop. Redis has no memory limit per login. A login that may use only some
types (doc/security_sites.md) is limited by their share, one that may use only a prefix of names by the prefix's.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.queue_reader import QueueClients
from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.redis_buffers import Buffers
from elastic_inference.adapters.redis_connection import connect_nodes_async

# Relief starts above this share of `maxmemory`, and ends once usage is down to the second share.
HIGH, LOW = 0.7, 0.6
# It looks again before a link of 10 Gbit/s could write up to this share of `maxmemory`.
_REACH, _LINK_BYTES_S = 0.85, 1_250_000_000
PAUSE_S, _SHORTEST_S = 1.0, 0.05
# The servers of a Redis Cluster are asked for again this often.
_NODES_EVERY_S = 60.0
# All types without a pod count as one: anyone who may push can invent them.
NO_PODS = "(no pods)"
# Types below this share of the measured memory are ignored.
_SMALL = 0.02
# Keys are spread at random, so a sample of them shows how memory is shared.
_WEIGH_S, _WEIGH_KEYS = 0.15, 20_000
_RELIEF_S = 0.6
# Types with fewer keys in the sample are a crowd: a stream has three or more.
_KEYS_A_TYPE = 4
_SCAN_COUNT = 500
# Keys that need no weighing.
_MANY = 5000
# Lists and hashes of a type with pods are far smaller.
_LARGE_BYTES = 256 * 1024
_KEY = re.compile(rb"\{queue_([^:{}]+)\}:([a-z]+)(?::([^-:]*).*)?|queue_([^:{}]+)", re.DOTALL)
_QUEUE_KEYS = (b"queue_", b"{queue_")
# What the user `camera` may write (users.acl), odd keys included. Only pods may remove the others, which are small.
_WRITTEN = re.compile(rb"queue_.*|\{queue_.*\}:(?:(?:frame|waiting|source):.*|sources|tokens|dropped)", re.DOTALL)
# A type, and the beginning of a stream's name.
_Owner = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Relief:
    """What was removed on one server, in bytes by type. `largest` is the type that used most."""

    used: int
    limit: int
    taken: Mapping[str, int]
    largest: str


class MemoryRelief:
    """Relief on each server of the queue. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, clients: QueueClients) -> None:
        """The caller closes the clients and this object."""
        self._clients = clients
        self._servers: list[ServerRelief] = []
        self._nodes: list[Redis] = []
        self._nodes_until = 0.0
        # How long to wait until the next look.
        self.pause_s = PAUSE_S
        # How many connections the last look closed.
        self.closed = 0

    async def look(self, with_pods: Collection[str]) -> list[Relief]:
        """Frees memory on servers that have too little; call it after each `pause_s`. Returns what was removed."""
        try:
            return await self._look(with_pods)
        except Exception:
            self.pause_s = PAUSE_S
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connections to the servers of a cluster."""
        nodes, self._nodes, self._servers = self._nodes, [], []
        for node in nodes:
            await node.aclose()

    async def _look(self, with_pods: Collection[str]) -> list[Relief]:
        reliefs, pause_s = [], PAUSE_S
        self.closed = 0
        for server in await self._each():
            found = await server.client.info("memory")
            used, limit = int(found["used_memory"]), int(found["maxmemory"])
            if limit <= 0:
                continue
            # What clients leave unread or unfinished counts too, and to remove frames would not help.
            done = await server.buffers.close_some(int(found.get("mem_clients_normal", 0)), limit)
            self.closed += done["closed"]
            used -= done["bytes"]
            taken = await server.relieve(used, limit, with_pods)
            if taken:
                reliefs.append(Relief(used, limit, taken, server.largest))
            pause_s = min(pause_s, pause_after(used, limit))
        self.pause_s = pause_s
        return reliefs

    async def _each(self) -> list[ServerRelief]:
        now = time.monotonic()
        if self._clients.cluster and now >= self._nodes_until:
            await self.close()
        if not self._servers:
            clients = self._clients
            if clients.cluster:
                self._nodes = await connect_nodes_async(clients.target, clients.name)
                self._nodes_until = now + _NODES_EVERY_S
            self._servers = [
                ServerRelief(client, clients.name, cluster=clients.cluster)
                for client in self._nodes or [clients.of("")]
            ]
        return self._servers


def pause_after(used: int, limit: int) -> float:
    """Seconds until the next look at a server."""
    return min(PAUSE_S, max(_SHORTEST_S, (_REACH * limit - used) / _LINK_BYTES_S))


class ServerRelief:
    """The relief of one server."""

    def __init__(self, client: Redis, name: str = "", *, cluster: bool = False) -> None:
        """`name` is that of housekeeping's own connections."""
        self.client = client
        self.buffers = Buffers(client, name)
        self._cluster = cluster
        self._cursor = 0
        # The type that used most at the last relief.
        self.largest = ""

    async def relieve(self, used: int, limit: int, with_pods: Collection[str]) -> Mapping[str, int]:
        """Frees memory, given the bytes in use and `maxmemory`. Returns the bytes removed by type.

        A type keeps its fair share: the memory that may be in use, divided by the number of types that use it. The
        tokens of removed frames are then found to be stale, and counted.
        """
        if limit <= 0 or used <= HIGH * limit:
            return {}
        started = time.monotonic()
        weights: Counter[str] = Counter()
        types: Counter[tuple[str, str]] = Counter()
        found: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
        seen, complete = 0, False
        async for weighed, ended in self._keys():
            for key, size in weighed:
                group, infer_type, *_ = _group(key, with_pods)
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
        to_lose = _to_lose(found[group], most / max(1, has), excess)
        owners = {_owner(key) for key, _ in found[group]}
        taken = await self._remove(found[group], to_lose, fair, with_pods)
        if group == NO_PODS and not complete and len(found[group]) < _KEYS_A_TYPE * len(owners):
            # Most of the types are not in the sample, and each has as little as those that are.
            taken += await self._remove_any(with_pods, most / len(found[group]), excess - taken, started + _RELIEF_S)
            return {group: taken}
        async for weighed, _ in self._keys():
            if taken >= excess or time.monotonic() - started > _RELIEF_S:
                break
            own = [(key, size) for key, size in weighed if _group(key, with_pods)[0] == group]
            taken += await self._remove(own, to_lose, fair, with_pods)
        return {group: taken} if taken else {}

    async def _remove_any(self, with_pods: Collection[str], size: float, excess: int, until_s: float) -> int:
        """Removes keys of types without pods, of `size` bytes each on average; returns about how many bytes."""
        taken = 0.0
        while taken < excess and time.monotonic() < until_s:
            reply: Any = await self.client.scan(self._cursor, count=_MANY)
            self._cursor = int(reply[0])
            chosen = [each for each in reply[1] if _WRITTEN.fullmatch(each) and _group(each, with_pods)[0] == NO_PODS]
            taken += size * len(chosen)
            await self._unlink(chosen)
            if not self._cursor:
                break
        return int(taken)

    async def _remove(
        self, found: list[tuple[bytes, int]], to_lose: Counter[_Owner], fair: int, with_pods: Collection[str]
    ) -> int:
        """Removes keys of owners in `to_lose`, and subtracts them there; returns the bytes freed."""
        chosen, taken = [], 0
        for key, size in found:
            owner, (group, _, kind) = _owner(key), _group(key, with_pods)
            if to_lose[owner] > 0 and _WRITTEN.fullmatch(key) and _may_go(group, kind, size, fair):
                chosen.append(key)
                to_lose[owner] -= size
                taken += size
        await self._unlink(chosen)
        return taken

    async def _unlink(self, names: Sequence[bytes]) -> None:
        """Removes keys. In a cluster, one command takes keys of one slot only."""
        slots: dict[str, list[bytes]] = defaultdict(list)
        for key in names:
            slots[(_owner(key)[0] or repr(key)) if self._cluster else ""].append(key)
        if slots:
            pipe = self.client.pipeline(transaction=False)
            for keys in slots.values():
                pipe.unlink(*keys)
            await pipe.execute()

    async def _keys(self) -> AsyncIterator[tuple[list[tuple[bytes, int]], bool]]:
        """Yields the queues' keys with their sizes in bytes, part by part, and whether one part holds all of them."""
        from_start = self._cursor == 0
        while True:
            reply: Any = await self.client.scan(self._cursor, count=_SCAN_COUNT)
            self._cursor = int(reply[0])
            names = [key for key in reply[1] if key.startswith(_QUEUE_KEYS)]
            yield list(zip(names, await _weigh(self.client, names), strict=True)), from_start and not self._cursor
            if not self._cursor:
                return


def _to_lose(found: list[tuple[bytes, int]], share: float, excess: int) -> Counter[_Owner]:
    """How many bytes each owner loses: the largest are cut to a common level, the others lose nothing.

    `found` is `share` of all keys.
    """
    weights: Counter[_Owner] = Counter()
    for key, size in found:
        weights[_owner(key)] += int(size / share)
    sizes = sorted(weights.values(), reverse=True)
    above = level = 0
    for count, size in enumerate(sizes, 1):
        above += size
        level = max(0, (above - excess) // count)
        if count == len(sizes) or sizes[count] <= level:
            break
    return Counter({owner: size - level for owner, size in weights.items() if size > level})


def _group(key: bytes, with_pods: Collection[str]) -> tuple[str, str, bytes]:
    """(type that the key counts for, the key's own type, its kind)."""
    match = _KEY.fullmatch(key)
    if match is None:
        return NO_PODS, "", b""
    infer_type = (match[1] or match[4]).decode(errors="replace")
    return infer_type if infer_type in with_pods else NO_PODS, infer_type, match[2] or b"legacy"


def _owner(key: bytes) -> _Owner:
    """The key's type, and the prefix of its stream's name: what is before the first hyphen."""
    match = _KEY.fullmatch(key)
    return ((match[1] or match[4]).decode(errors="replace"), match[3] or b"") if match else ("", b"")


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


def _may_go(group: str, kind: bytes, size: int, fair: int) -> bool:
    """Waiting frames may go. Lists of a type with pods stay unless they are too large."""
    if kind == b"frame":
        return True
    if kind == b"legacy" and group != NO_PODS:
        return size > fair // 2
    return group == NO_PODS or size > _LARGE_BYTES
