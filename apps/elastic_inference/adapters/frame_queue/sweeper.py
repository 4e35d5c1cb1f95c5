"""Finds keys that clients left without an expiry or with a distant one; checks some of the keys every second.

Called by housekeeping, on its event loop. All our producers give their keys an expiry in the same round trip, and
Redis removes them. Without the sweep, a client that sets none would fill Redis until an admin steps in.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.producer import LEASE_LIFE_S, SOURCE_LIFE_S
from elastic_inference.adapters.frame_queue.push_request import FRAME_LIFE_EXTRA_S
from elastic_inference.adapters.frame_queue.queue_reader import QueueClients
from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.frame_queue.wanted_sizes import MODEL_LIFE_S
from elastic_inference.adapters.redis_connection import connect_nodes_async
from elastic_inference.adapters.redis_input import read_name
from elastic_inference.base import config

# Keys looked at in one share; SCAN may return a few more. Each key that got an expiry allows for some more keys, so
# that the sweep keeps pace with a client that writes many; but a share takes no longer than SWEEP_S.
KEYS_A_SHARE = 2000
_MORE_KEYS = 20
SWEEP_S = 0.4
# How long counters and lists live if their type is not served: nobody claims or empties them. A type that had a pod may
# get the next one soon, which then claims its drops. Any other may be made up; if it is not, its producers write its
# lists again with their next frames.
UNSERVED_LIFE_S = 600.0
UNKNOWN_LIFE_S = 30.0
ACCOUNT_EXTRA_S = 60.0
_SCAN_COUNT = 1000
# Maximum number of streams that one sweep passes to the janitor of a type.
_MAX_FOUND = 256
# Lists of requests and answers: of the camera pool, whose other keys its owner keeps, and about images of events.
_LISTS = re.compile(rb"\{cameras\}:(?:reply:.*|requests|probes)|\{snapshots\}:(?:requests|answers):.*", re.DOTALL)
_LIST_LIFE_S = 60
# Pods write images with this expiry; the event service then gives those that it keeps a later one.
_IMAGE = b"{snapshots}:image:"
_IMAGE_LIFE_S = 60
# What the Redis user `camera` may write (users.acl): its patterns allow more than valid keys.
_OURS = re.compile(
    rb"queue_.*|\{queue_.*\}:(?:(?:frame|taken|waiting|source|epoch|want):.*|want|sources|tokens|dropped|plain)",
    re.DOTALL,
)
_KEY = re.compile(
    rb"\{queue_([^:{}]+)\}:(?:(frame|taken|source|waiting|epoch|want):(.*)|(tokens|sources|dropped|plain|want))",
    re.DOTALL,
)
# (Redis' condition, life in ms): keys that get the same expiry go to Redis together.
_Expiries = dict[tuple[str, int], list[bytes]]


@dataclass(frozen=True, slots=True)
class _InUse:
    """The types that are served, that have pods, and that have or had pods."""

    types: frozenset[bytes]
    with_pods: frozenset[bytes]
    had_pods: frozenset[bytes]

    @classmethod
    def of(cls, *names: Collection[str]) -> _InUse:
        return cls(*(frozenset(name.encode() for name in each) for each in names))


class Sweeper:
    """One replica's scan of the key space. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, clients: QueueClients, rules: config.QueueRules) -> None:
        """The caller closes the clients, and the sweeper."""
        self._clients = clients
        # Nobody uses a key that is not ours: it gets the lifetime of a frame.
        self._frame_ms = frame_ms = int((rules.max_frame_age_s + FRAME_LIFE_EXTRA_S) * 1000)
        account_ms = int((rules.max_frame_age_s + ACCOUNT_EXTRA_S) * 1000)
        source_ms = int(SOURCE_LIFE_S * 1000)
        self._lives_ms = {b"frame": frame_ms, b"taken": frame_ms, b"source": source_ms, b"plain": account_ms}
        self._lives_ms |= {b"epoch": int(LEASE_LIFE_S * 1000), b"want": int(MODEL_LIFE_S * 1000)}
        self._cursor = 0
        self._turn = 0
        # In a Redis Cluster: its servers, read again after a pass through each.
        self._nodes: list[Redis] = []

    async def sweep(
        self, types: Sequence[str], with_pods: Collection[str] = (), had_pods: Collection[str] = ()
    ) -> Mapping[str, list[str]]:
        """Looks at one share of the keys; call it every second. Returns streams that have a list of frames, by type.

        `types` are served, `with_pods` have pods, `had_pods` had one within a week. Keys without an expiry, or with one
        that is further away than a producer's, get one; but lists and counters of the first two keep none: janitors and
        pods empty them. In a Redis Cluster the passes go through one server after another.
        """
        try:
            return await self._sweep(_InUse.of(types, with_pods, {*with_pods, *had_pods}))
        except Exception:
            await self.close()
            raise

    async def close(self) -> None:
        """Closes the connections to the servers of a cluster."""
        nodes, self._nodes = self._nodes, []
        self._cursor = self._turn = 0
        for node in nodes:
            await node.aclose()

    async def _node(self) -> Redis:
        if not self._clients.cluster:
            return self._clients.of("")
        if self._nodes and self._turn >= len(self._nodes):
            await self.close()
        self._nodes = self._nodes or await connect_nodes_async(self._clients.target, self._clients.name)
        return self._nodes[self._turn]

    async def _sweep(self, in_use: _InUse) -> Mapping[str, list[str]]:
        started = time.monotonic()
        client = await self._node()
        waiting: dict[str, list[str]] = defaultdict(list)
        seen, mended = 0, 0
        while seen < KEYS_A_SHARE + _MORE_KEYS * mended and time.monotonic() - started < SWEEP_S:
            reply: Any = await client.scan(self._cursor, count=_SCAN_COUNT)
            cursor, found = reply
            # Empty slots of the scan cost time too.
            seen += max(_SCAN_COUNT, len(found))
            mended += await self._look_at(client, found, in_use, waiting)
            # Last: a share that was interrupted looks at these keys again.
            self._cursor = cursor
            if cursor == 0:
                self._turn += 1
                break
        return waiting

    async def _look_at(
        self, client: Redis, found: Sequence[bytes], in_use: _InUse, waiting: dict[str, list[str]]
    ) -> int:
        """Returns how many keys got an expiry."""
        expiries: _Expiries = defaultdict(list)
        for key in found:
            infer_type, kind, name = _parts(key)
            if not kind:
                if _LISTS.fullmatch(key):
                    expiries["LT", _LIST_LIFE_S * 1000].append(key)
                elif key.startswith(_IMAGE):
                    expiries["NX", _IMAGE_LIFE_S * 1000].append(key)
                elif _OURS.fullmatch(key):
                    expiries["LT", self._frame_ms].append(key)
            elif kind in self._lives_ms:
                expiries["LT", self._lives_ms[kind]].append(key)
            elif infer_type not in in_use.types and (kind != b"dropped" or infer_type not in in_use.with_pods):
                life_s = UNSERVED_LIFE_S if infer_type in in_use.had_pods else UNKNOWN_LIFE_S
                expiries["LT", int(life_s * 1000)].append(key)
            else:
                # It got an expiry before its type was known or had a pod: that moves on while the type is in use.
                expiries["XX", int(UNSERVED_LIFE_S * 1000)].append(key)
                streams = waiting[infer_type.decode()] if kind == b"waiting" else []
                if kind == b"waiting" and len(streams) < _MAX_FOUND:
                    streams.append(name.decode())
        mended = 0
        for (condition, life_ms), names in expiries.items():
            given = await _expire(client, condition, life_ms, names)
            mended += given if condition != "XX" else 0
        return mended


def _parts(key: bytes) -> tuple[bytes, bytes, bytes]:
    """(type, kind, the rest) of a valid key; the kind of any other is empty."""
    invalid = (b"", b"", b"")
    if key.startswith(b"queue_"):
        infer_type = key.removeprefix(b"queue_")
        return (infer_type, b"legacy", b"") if read_name(infer_type) else invalid
    match = _KEY.fullmatch(key)
    if match is None or read_name(match[1]) is None or (match[2] == b"waiting" and not read_name(match[3])):
        return invalid
    return match[1], match[2] or match[4], match[3] or b""


async def _expire(client: Redis, condition: str, life_ms: int, names: Sequence[bytes]) -> int:
    """Gives keys an expiry in one call, and returns how many got it."""
    sweep = script("sweep")
    reply: Any
    try:
        reply = await client.evalsha(sweep.sha, 0, condition, life_ms, *names)
    except NoScriptError:
        await client.script_load(sweep.text)
        reply = await client.evalsha(sweep.sha, 0, condition, life_ms, *names)
    return int(reply)
