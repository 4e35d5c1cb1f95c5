"""The gateway's view of the frame queue: which types and sources there are, how much waits, and the janitor.

Called by the gateway, on its event loop. Knows no HTTP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.scripts import all_scripts, script
from elastic_inference.adapters.redis_connection import connect_async, connect_nodes_async, is_cluster
from elastic_inference.base import config
from elastic_inference.domain import keys

# A little less than the second between two runs of one gateway, so that its own lock never stops it.
JANITOR_LOCK_MS = 950
SOURCE_SEEN_MS = 10_000
SOURCE_LISTED_MS = 60_000
_TYPE_KEY = re.compile(r"queue_(?P<plain>[^:{}]+)|\{queue_(?P<own>[^:{}]+)\}:(?:sources|tokens)")


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a producer says of its source. `last_seen` is in Unix seconds by the Redis clock."""

    name: str
    type: str
    state: str
    fps: float
    reconnects: int
    dropped: int
    last_seen: float


class QueueMonitor:
    """Watches the queues of all types. Every method raises REDIS_ERRORS when Redis is away."""

    def __init__(self, target: config.RedisTarget, rules: config.QueueRules, name: str = "") -> None:
        """`name` shows in Redis' CLIENT LIST."""
        self._target = target
        self._rules = rules
        self._name = name
        self._cluster = is_cluster(target)
        self._clients: dict[str, redis.asyncio.Redis] = {}

    async def types(self) -> list[str]:
        """Inference types that have a queue or a producer now, sorted. Scans the key space: every 10 s, not more."""
        found = set()
        nodes = await connect_nodes_async(self._target, self._name) if self._cluster else [self._client("")]
        try:
            for node in nodes:
                for pattern in ("queue_*", "{queue_*}:[st]o[uk]*s"):
                    async for key in node.scan_iter(match=pattern, count=1000):
                        match = _TYPE_KEY.fullmatch(key.decode(errors="replace"))
                        name = match and (match["plain"] or match["own"])
                        if name and keys.is_name(name):
                            found.add(name)
        finally:
            if self._cluster:
                for node in nodes:
                    await node.aclose()
        return sorted(found)

    async def length(self, infer_type: str) -> int:
        """Frames that wait, those of plain producers included."""
        pipe = self._client(infer_type).pipeline(transaction=False)
        pipe.llen(keys.tokens(infer_type))
        pipe.llen(keys.legacy_queue(infer_type))
        return int(sum(await pipe.execute()))

    async def sources(self, infer_type: str) -> list[SourceInfo]:
        """Sources heard of within the last 10 s, sorted by name."""
        client = self._client(infer_type)
        clock: Any = await client.time()
        now_ms = clock[0] * 1000 + clock[1] // 1000
        # To the same bound as the janitor's, not to +inf: a camera's login may write any score.
        seen: Any = await client.zrangebyscore(
            keys.sources(infer_type), now_ms - SOURCE_SEEN_MS, now_ms + SOURCE_LISTED_MS, withscores=True
        )
        if not seen:
            return []
        pipe = client.pipeline(transaction=False)
        for name, _ in seen:
            pipe.hgetall(keys.source(infer_type, name.decode(errors="replace")))
        found = []
        for (name, score), fields in zip(seen, await pipe.execute(raise_on_error=False), strict=True):
            text = name.decode(errors="replace")
            if fields and isinstance(fields, dict) and keys.is_name(text):
                found.append(_source(text, infer_type, score, fields))
        return sorted(found, key=lambda source: source.name)

    async def run_janitor(self, infer_type: str, holder: str) -> bool:
        """Runs the janitor of a type unless another holder has done so within a second; whether it ran.

        Call it every second for every type. It also brings the scripts back after a restart of Redis.
        """
        client = self._client(infer_type)
        if not await client.set(keys.janitor_lock(infer_type), holder, nx=True, px=JANITOR_LOCK_MS):
            return False
        arguments: tuple[Any, ...] = (
            *(script("janitor").sha, 5, keys.tokens(infer_type), keys.legacy_queue(infer_type)),
            *(keys.dropped(infer_type), keys.sources(infer_type), keys.legacy_account(infer_type)),
            *(keys.queue_prefix(infer_type), int(self._rules.max_frame_age_s * 1e6), self._rules.queue_depth),
            SOURCE_LISTED_MS,
        )
        try:
            await client.evalsha(*arguments)
        except NoScriptError:
            await self.load_scripts(infer_type)
            await client.evalsha(*arguments)
        return True

    async def load_scripts(self, infer_type: str) -> None:
        """Loads the queue's scripts where this type lives, for producers too, who may not."""
        pipe = self._client(infer_type).pipeline(transaction=False)
        for each in all_scripts():
            pipe.script_load(each.text)
        await pipe.execute()

    async def close(self) -> None:
        """Closes every connection."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()

    def _client(self, infer_type: str) -> redis.asyncio.Redis:
        key = keys.legacy_queue(infer_type) if self._cluster else ""
        if key not in self._clients:
            self._clients[key] = connect_async(self._target, key=key or None, name=self._name)
        return self._clients[key]


def _source(name: str, infer_type: str, seen_ms: float, fields: dict[bytes, bytes]) -> SourceInfo:
    def number(field: bytes) -> float:
        try:
            value = float(fields.get(field, b"0"))
        except ValueError:
            return 0.0
        return value if 0 <= value < 1e15 else 0.0

    return SourceInfo(
        name=name,
        type=infer_type,
        state=fields.get(b"state", b"").decode(errors="replace")[:32],
        fps=number(b"fps"),
        reconnects=int(number(b"reconnects")),
        dropped=int(number(b"dropped")),
        last_seen=seen_ms / 1000,
    )
