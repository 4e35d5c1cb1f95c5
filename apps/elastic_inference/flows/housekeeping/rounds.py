"""The rounds of housekeeping: every second the janitor and the length of each queue, every 10 s the pods.

Called by `housekeeping_service`. Several replicas may run: locks in Redis share the janitor's work among them, and
each exports the same figures. A figure that cannot be read is removed, because rules would keep using its last value.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from redis.exceptions import RedisError, ResponseError

from elastic_inference.adapters.frame_queue import Janitor, KnownTypes, QueueReader, Sweeper
from elastic_inference.adapters.frame_queue.janitor import NAMES_A_RUN
from elastic_inference.adapters.frame_queue.queue_reader import MAX_TYPES
from elastic_inference.adapters.redis_errors import REDIS_ERRORS
from elastic_inference.adapters.redis_strangers import Strangers
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import HousekeepingMetrics

log = logging.getLogger(__name__)

ROUND_S = 1.0
WORKERS_EVERY_S = 10.0
READ_LIMIT_S = 3.0
# A step of a round that takes longer is cancelled; the next ones run if Redis answers PING in time.
STEP_LIMIT_S = 2.0
PING_LIMIT_S = 1.0
_CLEAN_UP_LIMIT_S = 15.0
BEAT_LIMIT_S = 30.0
CONNECTIONS_EVERY_S = 10.0
# Maximum time that janitors use in one round; the next round continues with the next type.
JANITORS_S = 0.5
# Streams that the janitors of all types check in one round; at least a few of each type.
NAMES_A_ROUND = 4096
_MIN_NAMES = 64


class Housekeeping:
    """One replica's rounds, on its event loop."""

    def __init__(
        self,
        reader: QueueReader,
        janitor: Janitor,
        sweeper: Sweeper,
        registry: StreamRegistry,
        *,
        strangers: Strangers,
        metrics: HousekeepingMetrics,
        lifecycle: Lifecycle,
        explain: Callable[[Exception, str], str],
    ) -> None:
        """`explain` says in a line what a Redis error means, for `queue` or `broker`."""
        self._reader, self._types = reader, KnownTypes(reader)
        self._janitor, self._sweeper = janitor, sweeper
        self._registry = registry
        self._strangers = strangers
        self._places = 0
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._explain = explain
        self._with_pods: frozenset[str] = frozenset()
        # While the registry cannot be read, a type may have pods: these then claim its drops.
        self._pods_known = False
        self._found: Mapping[str, Sequence[str]] = {}
        self._workers_at = float("-inf")
        self._memory_at = float("-inf")
        self._counted: set[str] = set()
        self._last_done = self._last_ours = ""
        self._tried: set[str] = set()
        self._failed_first = ""
        self._throttle = Throttle()
        # The names of types come from outside.
        self._types_said = Throttle()

    def with_pods(self) -> frozenset[str]:
        """The types that had pods at the last look."""
        return self._with_pods

    def types(self) -> Sequence[str]:
        """The types that are served."""
        return self._types.names

    async def run(self, stop: asyncio.Event) -> None:
        """Rounds until the stop. A bug in a round is logged; liveness fails when no round ends for BEAT_LIMIT_S."""
        self._lifecycle.beat("rounds", BEAT_LIMIT_S)
        while not stop.is_set():
            started = time.monotonic()
            try:
                await self._round(started)
                self._lifecycle.beat("rounds", BEAT_LIMIT_S)
            except Exception as error:
                if note := self._throttle.note(type(error)):
                    log.exception("a round failed %s", note)
            try:
                async with asyncio.timeout(max(0.05, ROUND_S - (time.monotonic() - started))):
                    await stop.wait()
            except TimeoutError:
                continue

    async def _round(self, now: float) -> None:
        await self._ask("queue", self._clean_up)
        if now - self._workers_at >= WORKERS_EVERY_S and await self._ask("broker", self._count_workers):
            self._workers_at = now

    async def _clean_up(self) -> None:
        self._found = {}
        for step in (self._read_memory, self._close_strangers, self._read_types, self._sweep, self._run_janitors):
            try:
                async with asyncio.timeout(STEP_LIMIT_S):
                    await step()
            except TimeoutError:
                # Too much work is not an outage: Redis still answers.
                async with asyncio.timeout(PING_LIMIT_S):
                    await self._reader.ping()
                name = step.__name__.strip("_").replace("_", " ")
                if note := self._throttle.note(name):
                    log.warning("housekeeping could not %s within %.0f s %s", name, STEP_LIMIT_S, note)

    async def _close_strangers(self) -> None:
        try:
            self._metrics.strangers.inc(await self._strangers.close_some(self._places))
            self._metrics.closed.inc(self._strangers.others_closed)
        except ResponseError as error:
            if isinstance(error, REDIS_ERRORS):
                raise
            if note := self._throttle.note("strangers"):
                log.warning("connections without a login stay: %s %s", self._explain(error, "queue"), note)

    async def _sweep(self) -> None:
        self._found = await self._sweeper.sweep(self._types.names, self._with_pods, self._types.had_pods)

    async def _run_janitors(self) -> None:
        started = time.monotonic()
        names, found = self._types.names, self._found
        share = max(_MIN_NAMES, min(NAMES_A_RUN, NAMES_A_ROUND // max(1, len(names))))
        # Types with pods come first: invented ones may be new in each round.
        ours = _after([name for name in names if name in self._with_pods], self._last_ours)
        # A new type may be served for a turn of only ten seconds.
        new = [name for name in names if self._tried and name not in {*self._tried, *ours}]
        first = {*ours, *new}
        order = [*ours, *new, *(name for name in _after(names, self._last_done) if name not in first)]
        if order and order[0] == self._failed_first:
            # The last round started with this type and got no further.
            order.append(order.pop(0))
        self._failed_first = order[0] if order else ""
        for infer_type in order:
            took_s = time.monotonic() - started
            if took_s > JANITORS_S:
                break
            if infer_type in ours and took_s > JANITORS_S / 2:
                continue
            self._tried.add(infer_type)
            await self._clean_type(infer_type, share, found.get(infer_type, ()))
            self._failed_first = ""
            if infer_type in ours:
                self._last_ours = infer_type
            elif infer_type not in new:
                self._last_done = infer_type

    async def _clean_type(self, infer_type: str, share: int, found: Sequence[str]) -> None:
        """Runs the janitor of one type. A refusal by Redis is logged and shown by a gauge; other types are served."""
        refused = 0
        try:
            unserved = self._pods_known and infer_type not in self._with_pods
            if run := await self._janitor.run(infer_type, share, found, unserved=unserved):
                self._metrics.janitor_runs.labels(infer_type=infer_type).inc()
                for reason in self._metrics.CLAIMED if unserved else ():
                    self._metrics.dropped.labels(infer_type, reason.value).inc(run.claimed[reason])
            length = await self._reader.length(infer_type)
            self._metrics.queue_length.labels(infer_type=infer_type).set(length)
        except ResponseError as error:
            if isinstance(error, REDIS_ERRORS):
                raise
            refused = 1
            if note := self._types_said.note(infer_type):
                why = self._explain(error, "queue")
                log.warning("the queue of type %s is skipped: %s %s", infer_type, why, note)
        self._metrics.janitor_refused.labels(infer_type=infer_type).set(refused)

    async def _read_types(self) -> None:
        before = self._types.names
        if not await self._types.refresh():
            if not before:
                await self._reader.ping()  # even without types, this shows whether the queue answers
            return
        for gone in set(before) - set(self._types.names):
            # A type that no longer exists must not keep its last length.
            for metric in (self._metrics.queue_length, self._metrics.janitor_runs, self._metrics.janitor_refused):
                metric.remove(gone)
            for reason in self._metrics.CLAIMED:
                self._metrics.dropped.remove(gone, reason.value)
            self._janitor.forget(gone)
            self._tried.discard(gone)

    async def _read_memory(self) -> None:
        used, limit = await self._reader.memory()
        self._metrics.redis_used.set(used)
        self._metrics.redis_limit.set(limit)
        # Not every second: they change slowly.
        now = time.monotonic()
        if now - self._memory_at < CONNECTIONS_EVERY_S:
            return
        connections, maximum = await self._reader.connections()
        self._metrics.redis_connections.set(connections)
        self._metrics.redis_max_connections.set(maximum)
        self._places = maximum
        self._memory_at = now

    async def _count_workers(self) -> None:
        pods = Counter(worker.type for worker in await self._registry.workers())
        self._with_pods, self._pods_known = frozenset(pods), True
        self._types.prefer(self._with_pods)
        counted = set([*sorted(pods), *(name for name in self._types.names if name not in pods)][:MAX_TYPES])
        for infer_type in counted:
            self._metrics.workers.labels(infer_type=infer_type).set(pods[infer_type])
        # Removed last: a scrape between clearing and setting would say that a type has no pod.
        for gone in self._counted - counted:
            self._metrics.workers.remove(gone)
        self._counted = counted
        await self._registry.shorten_watches()

    async def _ask(self, part: str, read: Callable[[], Awaitable[None]]) -> bool:
        """Whether `read` succeeded in time; sets readiness, `ei_redis_up` and `ei_redis_refused` accordingly."""
        try:
            async with asyncio.timeout(_CLEAN_UP_LIMIT_S if part == "queue" else READ_LIMIT_S):
                await read()
        except (RedisError, OSError, TimeoutError) as error:
            text = self._explain(error, part)
            self._lifecycle.set_missing(part, text)
            if self._throttle.allow((part, type(error))):
                log.warning("%s", text)
            # Redis that refuses, for lack of rights or memory, is up.
            refused = isinstance(error, ResponseError) and not isinstance(error, REDIS_ERRORS)
            self._metrics.redis_up[part].set(refused)
            self._metrics.redis_refused[part].set(refused)
            self._forget(part, refused=refused)
            return False
        self._metrics.redis_up[part].set(1)
        self._metrics.redis_refused[part].set(0)
        self._lifecycle.set_ready(part)
        return True

    def _forget(self, part: str, *, refused: bool) -> None:
        """Removes figures that are no longer known. If Redis refuses a request, its memory is known."""
        metrics = self._metrics
        if part == "broker":
            self._workers_at = float("-inf")
            self._pods_known = False
            self._counted.clear()
            metrics.workers.clear()
            return
        metrics.queue_length.clear()
        self._types.expire()
        if not refused:
            for metric in (
                *(metrics.redis_used, metrics.redis_limit),
                *(metrics.redis_connections, metrics.redis_max_connections),
            ):
                metric.set(math.nan)
            self._memory_at = float("-inf")


def _after(names: Sequence[str], last: str) -> list[str]:
    """The sorted names, those behind `last` first: a round that was cut off is continued if Redis is slow."""
    behind = [name for name in names if name > last]
    return [*behind, *names[: len(names) - len(behind)]]
