"""What the gateway knows of streams and pods: read from Redis in batches, once for all clients, and kept a moment.

Called by the REST handlers (`streams`, `stats`) and the event hub (`subscribe`). While nobody asks, only the types,
the queue lengths and the numbers of pods (metrics) and the janitor cost anything. While Redis is away the last that
was known is served, and `missing` says so; its metrics are taken away, since rules would judge dead values.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from elastic_inference.adapters.frame_queue import QueueMonitor
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.base.metrics import GatewayMetrics
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.pool import Stats, Stream, Streams
from elastic_inference.flows.gateway.documents import PoolRecords, stats_document, streams_document

log = logging.getLogger(__name__)

T = TypeVar("T")
FRESH_S = 0.5
READ_LIMIT_S = 3.0
TYPES_EVERY_S = 10.0
HOUSEKEEPING_EVERY_S = 1.0
# Whoever may push may make up types; each costs round trips and labels.
MAX_TYPES = 256
TOO_MANY_TYPES_EVERY_S = 60.0
# A websocket server that refused a viewer so long ago is asked again before anybody is told that it is away.
TUNNEL_PROBLEM_LIFE_S = 30.0


class NothingKnownError(ElasticInferenceError):
    """Redis does not answer, and never has."""


class Report(Protocol):
    """Whom the state tells how it is."""

    def beat(self) -> None:
        """The loop runs: each second."""

    def degraded(self, part: str, error: Exception | None) -> None:
        """Why `queue` or `broker` does not answer, or None when it does: after each reading."""


class PoolState:
    """One per gateway, on its event loop."""

    def __init__(
        self,
        clock: aioredis.Redis,
        monitor: QueueMonitor,
        registry: StreamRegistry,
        *,
        metrics: GatewayMetrics,
        holder: str,
        report: Report,
    ) -> None:
        """`clock` is a client of the queue's Redis; `holder` names this gateway in the janitor's lock."""
        self._clock = clock
        self._monitor = monitor
        self._registry = registry
        self._metrics = metrics
        self._holder = holder
        self._report = report
        self._records = PoolRecords()
        self._types: tuple[str, ...] = ()
        self._types_at = float("-inf")
        self._workers_at = float("-inf")
        self._counted: set[str] = set()
        self._too_many_told_at = float("-inf")
        self._last_done = ""
        self._clock_offset_s = 0.0
        self._read_at = float("-inf")
        self._known = {"queue": False, "broker": False}
        self._missing: dict[str, str] = {}
        self._tunnel_problem_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    def now_s(self) -> float:
        """The server's clock (the queue's Redis, this machine's until it is known), Unix seconds."""
        return time.time() + self._clock_offset_s

    def missing(self) -> dict[str, str]:
        """What does not answer, by part."""
        found = dict(self._missing)
        if time.monotonic() - self._tunnel_problem_at < TUNNEL_PROBLEM_LIFE_S:
            found["websocket_server"] = "the websocket server can't be reached: no pictures for now"
        return found

    def note_tunnel(self, works: bool) -> None:
        """Whether the websocket server just took a viewer or could not be reached."""
        self._tunnel_problem_at = float("-inf") if works else time.monotonic()

    async def streams(self) -> Streams:
        """`Streams`, at most half a second old while Redis answers. Raises NothingKnownError."""
        await self._refresh()
        return streams_document(self._records, self.missing(), self.now_s())

    async def stats(self) -> Stats:
        """`Stats`; as `streams`."""
        streams = await self.streams()
        return stats_document(self._records, streams.streams, self.missing(), self.now_s() * 1000)

    async def stream(self, stream_id: str) -> Stream | None:
        """One stream of `streams`, None when there is none of this id."""
        document = await self.streams()
        return next((each for each in document.streams if each.id == stream_id), None)

    async def run(self) -> None:
        """Types, queue lengths, the janitor and (more seldom) the pods, each second, until it is cancelled."""
        while True:
            started = time.monotonic()
            self._report.beat()
            if await self._ask("queue", self._housekeeping):
                self._known["queue"] = True
            if started - self._workers_at >= TYPES_EVERY_S and await self._ask("broker", self._read_workers):
                self._workers_at = started
            await asyncio.sleep(max(0.05, HOUSEKEEPING_EVERY_S - (time.monotonic() - started)))

    async def _housekeeping(self) -> bool:
        await self._read_types()
        lengths: dict[str, int | None] = {}
        # A round that is cut off goes on where it was: with a slow Redis every type has its turn, not the first alone.
        behind = [infer_type for infer_type in self._types if infer_type > self._last_done]
        for infer_type in behind + list(self._types[: len(self._types) - len(behind)]):
            if await self._monitor.run_janitor(infer_type, self._holder):
                self._metrics.janitor_runs.labels(infer_type=infer_type).inc()
            length = await self._monitor.length(infer_type)
            lengths[infer_type] = length
            self._metrics.queue_length.labels(infer_type=infer_type).set(length)
            self._last_done = infer_type
        self._records.lengths = lengths
        return True

    async def _read_workers(self) -> bool:
        self._records.workers = await self._registry.workers()
        # With each reading: `ei_redis_up` must not say 1 while a type's pods are not counted.
        pods = Counter(worker.type for worker in self._records.workers)
        counted = set(sorted(set(pods).union(self._types))[:MAX_TYPES])
        for infer_type in counted:
            self._metrics.workers.labels(infer_type=infer_type).set(pods[infer_type])
        # Not cleared before: a scrape in between would say that a type has no pod.
        for gone in self._counted - counted:
            self._metrics.workers.remove(gone)
        self._counted = counted
        return True

    async def _read_types(self) -> None:
        now = time.monotonic()
        if now - self._types_at >= TYPES_EVERY_S:
            found = self._bounded(await self._monitor.types(), now)
            for gone in set(self._types) - set(found):
                # A type that has gone must not stand at its last length for ever.
                self._metrics.queue_length.remove(gone)
                self._metrics.janitor_runs.remove(gone)
                self._records.sources.pop(gone, None)
            self._types, self._types_at = found, now
            # As seldom: an INFO costs more than all the rest.
            memory = await self._clock.info("memory")
            self._metrics.redis_used.set(memory["used_memory"])
            self._metrics.redis_limit.set(memory["maxmemory"])
        # Each time: a queue without types must be seen to answer, too.
        before = time.time()
        seconds, micros = await self._clock.time()
        self._clock_offset_s = seconds + micros / 1e6 - (before + time.time()) / 2

    def _bounded(self, types: Sequence[str], now: float) -> tuple[str, ...]:
        """MAX_TYPES of them at most, sorted: those that were there before come first."""
        if len(types) > MAX_TYPES and now - self._too_many_told_at >= TOO_MANY_TYPES_EVERY_S:
            self._too_many_told_at = now
            log.warning("%d inference types at the queue, %d are looked after: the rest waits", len(types), MAX_TYPES)
        known = set(self._types)
        return tuple(sorted(sorted(types, key=lambda name: (name not in known, name))[:MAX_TYPES]))

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at >= FRESH_S:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            # Shielded: one client that leaves must not take the answer from the others.
            await asyncio.shield(self._reading)
        if not any(self._known.values()):
            raise NothingKnownError("; ".join(f"{part}: {why}" for part, why in sorted(self._missing.items())))

    async def _read(self) -> None:
        queue, broker = await asyncio.gather(
            self._ask("queue", self._read_queue), self._ask("broker", self._read_broker)
        )
        self._known["queue"] |= bool(queue)
        self._known["broker"] |= bool(broker)
        self._read_at = time.monotonic()

    async def _read_queue(self) -> bool:
        await self._read_types()
        lengths: dict[str, int | None] = {}
        for infer_type in self._types:
            self._records.sources[infer_type] = await self._monitor.sources(infer_type)
            lengths[infer_type] = await self._monitor.length(infer_type)
        self._records.lengths = lengths
        return True

    async def _read_broker(self) -> bool:
        streams = await self._registry.streams()
        await self._read_workers()
        self._records.streams = streams
        return True

    async def _ask(self, part: str, read: Callable[[], Awaitable[T]]) -> T | None:
        """What `read` returns; None, and the reason in `missing`, when Redis is away or slow."""
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                answer = await read()
        except (RedisError, OSError, TimeoutError) as error:
            self._report.degraded(part, error)
            # Addresses and accounts are for the log, not for every viewer.
            self._missing[part] = f"the {part}'s Redis does not answer"
            self._forget(part)
            return None
        self._missing.pop(part, None)
        self._metrics.redis_up[part].set(1)
        self._report.degraded(part, None)
        return answer

    def _forget(self, part: str) -> None:
        metrics = self._metrics
        metrics.redis_up[part].set(0)
        if part == "broker":
            self._workers_at = float("-inf")
            self._counted.clear()
            metrics.workers.clear()
            return
        self._records.lengths = dict.fromkeys(self._records.lengths)
        metrics.queue_length.clear()
        metrics.redis_used.set(math.nan)
        metrics.redis_limit.set(math.nan)
        # The memory is read again with the types.
        self._types_at = float("-inf")
