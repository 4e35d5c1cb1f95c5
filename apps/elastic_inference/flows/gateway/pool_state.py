"""The state of streams and pods, read from Redis in batches, shared by all clients and cached for half a second.

Called by the REST handlers and the event hub. Without a client, only types, pods and the clock are read. While Redis is
unavailable, the last known state is served and `missing` says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import redis.asyncio as aioredis
from redis.exceptions import RedisError, ResponseError

from elastic_inference.adapters.frame_queue import KnownTypes, QueueReader
from elastic_inference.adapters.frame_queue.queue_reader import MAX_SOURCES
from elastic_inference.adapters.redis_errors import REDIS_ERRORS
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.gateway.access import EVERYBODY, Access
from elastic_inference.flows.gateway.pool_records import PoolRecords

if TYPE_CHECKING:
    from elastic_inference.domain.pool import Stats, Stream, Streams

# The documents are loaded with the first request for one: see `rest_parts`.
# ruff: noqa: PLC0415

T = TypeVar("T")
FRESH_S = 0.5
READ_LIMIT_S = 3.0
READ_EVERY_S = 1.0
WORKERS_EVERY_S = 10.0
SERVED_FRESH_S = 2.0
# How long the websocket server counts as unreachable after a viewer could not reach it.
TUNNEL_PROBLEM_LIFE_S = 30.0
# Maximum number of sources that are read, divided equally among the types.
_ALL_SOURCES = 32_768
_MIN_SOURCES = 64


class NoDataYetError(ElasticInferenceError):
    """Redis has been unavailable since the start."""


class Report(Protocol):
    """Receives the state's health."""

    def beat(self) -> None:
        """Called every second while the loop runs."""

    def degraded(self, part: str, error: Exception | None) -> None:
        """Called after each reading of `queue` or `broker`, with the error or None."""


class PoolState:
    """The state of all streams and pods. One per gateway, on its event loop."""

    def __init__(
        self,
        clock: aioredis.Redis,
        reader: QueueReader,
        registry: StreamRegistry,
        *,
        report: Report,
    ) -> None:
        """`clock` is a client of the queue's Redis."""
        self._clock = clock
        self._reader = reader
        self._types = KnownTypes(reader)
        self._registry = registry
        self._report = report
        self._records = PoolRecords()
        self._workers_at = float("-inf")
        self._clock_offset_s = 0.0
        self._read_at = float("-inf")
        self._known = {"queue": False, "broker": False}
        self._missing: dict[str, str] = {}
        self._tunnel_problem_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    def now_s(self) -> float:
        """Unix seconds by the clock of the queue's Redis, or of this machine until that is known."""
        return time.time() + self._clock_offset_s

    def missing(self) -> dict[str, str]:
        """The parts that do not answer, each with a sentence."""
        found = dict(self._missing)
        if time.monotonic() - self._tunnel_problem_at < TUNNEL_PROBLEM_LIFE_S:
            found["websocket_server"] = "the websocket server is unreachable; live video is unavailable"
        return found

    def note_tunnel(self, works: bool) -> None:
        """Records whether the websocket server accepted a viewer or was unreachable."""
        self._tunnel_problem_at = float("-inf") if works else time.monotonic()

    async def streams(self, access: Access) -> Streams:
        """The streams that `access` sees, at most half a second old while Redis is available.

        Raises NoDataYetError.
        """
        from elastic_inference.flows.gateway.documents import streams_document
        from elastic_inference.flows.gateway.own_cameras import own_streams

        await self._refresh()
        return own_streams(streams_document(self._records, self.missing(), self.now_s()), access)

    async def stats(self, access: Access) -> Stats:
        """The pool's statistics as far as `access` sees them, as old as `streams`. Raises NoDataYetError."""
        from elastic_inference.flows.gateway.documents import stats_document
        from elastic_inference.flows.gateway.own_cameras import own_stats, own_streams

        streams = await self.streams(EVERYBODY)
        stats = stats_document(self._records, streams.streams, self.missing(), self.now_s() * 1000)
        return own_stats(stats, own_streams(streams, access), access)

    async def stream(self, stream_id: str, access: Access) -> Stream | None:
        """The stream with this id, or None, also if `access` does not see it. Raises NoDataYetError."""
        document = await self.streams(access)
        return next((each for each in document.streams if each.id == stream_id), None)

    async def served_types(self) -> frozenset[str] | None:
        """The types that have a pod, at most 2 s old; None while the broker does not answer."""
        if "broker" not in self._missing and time.monotonic() - self._workers_at >= SERVED_FRESH_S:
            await self._ask("broker", self._read_workers)
        return None if "broker" in self._missing else frozenset(each.type for each in self._records.workers)

    async def run(self) -> None:
        """Reads types and clock every second and pods every 10 s, until cancelled."""
        while True:
            started = time.monotonic()
            self._report.beat()
            if await self._ask("queue", self._read_types):
                self._known["queue"] = True
            if started - self._workers_at >= WORKERS_EVERY_S:
                await self._ask("broker", self._read_workers)
            await asyncio.sleep(max(0.05, READ_EVERY_S - (time.monotonic() - started)))

    async def _read_workers(self) -> bool:
        asked_at = time.monotonic()
        self._records.workers = await self._registry.workers()
        self._workers_at = asked_at
        self._types.prefer(worker.type for worker in self._records.workers)
        return True

    async def _read_types(self) -> bool:
        before = set(self._types.names)
        if await self._types.refresh():
            for gone in before - set(self._types.names):
                self._records.sources.pop(gone, None)
        # Every time: even without types, this shows whether the queue answers.
        asked_s = time.time()
        seconds, micros = await self._clock.time()
        self._clock_offset_s = seconds + micros / 1e6 - (asked_s + time.time()) / 2
        return True

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at >= FRESH_S:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            # Shielded, since a client that leaves must not cancel the reading for the others.
            await asyncio.shield(self._reading)
        if not any(self._known.values()):
            raise NoDataYetError("; ".join(f"{part}: {why}" for part, why in sorted(self._missing.items())))

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
        drop_fps: dict[str, float] = {}
        served = {worker.type for worker in self._records.workers}
        limit = max(_MIN_SOURCES, min(MAX_SOURCES, _ALL_SOURCES // max(1, len(self._types.names))))
        for infer_type in self._types.names:
            self._records.sources[infer_type] = await self._reader.sources(infer_type, limit)
            lengths[infer_type] = await self._reader.length(infer_type)
            if infer_type not in served:
                drop_fps[infer_type] = await self._reader.unserved_drop_fps(infer_type)
        self._records.lengths, self._records.drop_fps = lengths, drop_fps
        return True

    async def _read_broker(self) -> bool:
        streams = await self._registry.streams()
        await self._read_workers()
        self._records.streams = streams
        return True

    async def _ask(self, part: str, read: Callable[[], Awaitable[T]]) -> T | None:
        """The answer of `read`, or None if Redis is unavailable or slow; `missing` then has the reason."""
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                answer = await read()
        except (RedisError, OSError, TimeoutError) as error:
            self._report.degraded(part, error)
            # Only the log may have addresses and user names, not every viewer.
            refused = isinstance(error, ResponseError) and not isinstance(error, REDIS_ERRORS)
            verb = "refuses a request" if refused else "does not answer"
            self._missing[part] = f"the {part}'s Redis {verb}"
            self._forget(part)
            return None
        self._missing.pop(part, None)
        self._report.degraded(part, None)
        return answer

    def _forget(self, part: str) -> None:
        if part == "broker":
            self._workers_at = float("-inf")
        else:
            self._records.lengths = dict.fromkeys(self._records.lengths)
            self._records.drop_fps = {}
            self._types.expire()
