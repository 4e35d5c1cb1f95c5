"""The websocket server's process: reads its settings, serves viewers, closes them on SIGTERM.

The entry point `websocket_server.py` and the console script `ei-websocket-server` call `main`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import redis.asyncio as aioredis
from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from elastic_inference.adapters.redis_connection import connect_async, explain, is_cluster
from elastic_inference.adapters.redis_server_check import watch_server
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.adapters.watched_marks import WatchedMarks
from elastic_inference.base.allowed_hosts import AllowedHosts
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.base.config import RedisTarget, WebsocketSettings
from elastic_inference.base.connections import ConnectionLimits, fit_connections
from elastic_inference.base.forwarded import parse_networks
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.base.memory_limit import room_for_images
from elastic_inference.base.metrics import ConnectionMetrics, RelayMetrics
from elastic_inference.base.service_runner import run_service
from elastic_inference.domain.errors import SettingError
from elastic_inference.flows.relay.broker_feed import BrokerFeed
from elastic_inference.flows.relay.drawn_frames import Painter
from elastic_inference.flows.relay.hub import Hub
from elastic_inference.flows.relay.known_streams import KnownStreams
from elastic_inference.flows.relay.server import Limits, WebsocketServer
from elastic_inference.flows.relay.snapshots import Snapshots

if TYPE_CHECKING:
    from elastic_inference.flows.relay.sharded_feed import ShardedFeed

log = logging.getLogger(__name__)

# `watch:<stream id>` lives 10 s.
WATCH_EVERY_S = 3.0
_WATCH_BATCH = 500
# Drawing is for viewers that cannot draw: it must not slow down the frames of all others.
_DRAW_THREADS = 2
# Snapshots and handshakes in progress beside the viewers.
_SPARE_CONNECTIONS = 256
# The share of the free memory, once the server runs, that drawing may use. The rest is for viewers and frames in
# transit.
DRAWING_SHARE = 0.5
# Each drawing thread keeps this much for the next image: enough for one of 5 megapixels. Larger ones are returned at
# once, which makes an image of 4K some 8 % slower to draw.
_KEPT_BYTES = 16 << 20


class Watcher:
    """Tells the broker and the producers which streams are watched: new ones at once, all of them every 3 s."""

    def __init__(
        self, registry: StreamRegistry, marks: WatchedMarks | None, report: Callable[[Exception | None], None]
    ) -> None:
        """`report` is called with the reason when telling the broker fails, and with None when it works again."""
        self._registry = registry
        self._marks = marks
        self._report = report
        self._throttle = Throttle()
        self._new: dict[str, None] = {}
        self._wake = asyncio.Event()

    def add(self, stream_id: str) -> None:
        """Tells the broker about a stream that has its first viewer."""
        self._new[stream_id] = None
        self._wake.set()

    async def run(self, hub: Hub, lifecycle: Lifecycle) -> None:
        """Runs until cancelled."""
        loop = asyncio.get_running_loop()
        all_at_s = loop.time()
        while True:
            lifecycle.beat("event loop")
            if loop.time() >= all_at_s:
                all_at_s = loop.time() + WATCH_EVERY_S
                wanted = hub.stream_ids()
            else:
                wanted = [each for each in self._new if each in hub]
            self._new.clear()
            self._wake.clear()
            await self._watch(wanted)
            try:
                async with asyncio.timeout(max(0.0, all_at_s - loop.time())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _watch(self, wanted: list[str]) -> None:
        try:
            for start in range(0, len(wanted), _WATCH_BATCH):
                await self._registry.watch(wanted[start : start + _WATCH_BATCH])
        except (RedisError, OSError) as error:
            self._report(error)
        else:
            self._report(None)
        if self._marks is None:
            return
        try:
            await self._marks.mark(wanted)
        except (RedisError, OSError) as error:
            # Frames of cameras whose size is `auto` stay as small as their models need.
            if note := self._throttle.note("marks"):
                log.warning("cannot tell the frame queue which streams are watched: %s %s", error, note)


async def serve(
    settings: WebsocketSettings,
    lifecycle: Lifecycle,
    registry: CollectorRegistry,
    limits: Limits | None = None,
    on_port: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serves viewers until the lifecycle stops, then closes them with 1001.

    `on_port` is called with the port that the server listens on. Raises SettingError when it is taken.
    """
    stop = lifecycle.stop_event()
    lifecycle.declare("websocket port")
    if stop.is_set():
        return
    async with AsyncExitStack() as stack:
        limits = limits or Limits(
            max_viewers=settings.max_viewers,
            connections=_connection_limits(settings),
        )
        server, work = _build(stack, settings, lifecycle, registry, limits)
        try:
            await server.start(settings.websocket_host, settings.websocket_port)
        except OSError as error:
            raise SettingError(
                "WEBSOCKET_PORT",
                settings.websocket_port,
                f"expected a free port at {settings.websocket_host} ({error.strerror or error})",
            ) from None
        on_port(server.port)
        log.info("websockets at ws://%s:%d/<stream id> (no login)", settings.websocket_host, server.port)
        lifecycle.set_ready("websocket port")
        tasks = [asyncio.create_task(run()) for run in work]
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a task that ended on its own has failed: raise its error
        finally:
            await server.close()
            await _end((*tasks, stopped))
            lifecycle.end_beat("event loop")


def _build(
    stack: AsyncExitStack,
    settings: WebsocketSettings,
    lifecycle: Lifecycle,
    registry: CollectorRegistry,
    limits: Limits,
) -> tuple[WebsocketServer, list[Callable[[], Coroutine[None, None, None]]]]:
    """The server, and what must run beside it. `stack` closes what they use."""
    broker, metrics = settings.broker, RelayMetrics(registry)

    def client(target: RedisTarget, name: str = "ei-websocket-server", key: str | None = None) -> aioredis.Redis:
        made = connect_async(target, key=key, name=name)
        stack.push_async_callback(made.aclose)
        return made

    def report(part: str) -> Callable[[Exception | None], None]:
        return lambda error: lifecycle.set_degraded(part, None if error is None else explain(error, broker))

    executor = ThreadPoolExecutor(_DRAW_THREADS, thread_name_prefix="draw")
    stack.callback(executor.shutdown, wait=False, cancel_futures=True)
    registry_client = client(broker)
    streams = StreamRegistry(registry_client)
    marks = WatchedMarks(
        lambda key: client(settings.queue, "ei-websocket-marks", key), by_type=is_cluster(settings.queue)
    )
    watcher = Watcher(streams, marks, report("watch keys"))
    painter = Painter(executor, ByteBudget(room_for_images(DRAWING_SHARE)))
    hub = Hub(metrics, painter, settings.reorder_ms / 1000, watcher.add)
    hub.feed = feed = _feed(broker, client(broker, "ei-websocket-feed"), hub, report("stream broker"))
    exists = KnownStreams(streams, client(settings.queue)).exists
    server = WebsocketServer(
        hub,
        metrics,
        exists,
        Snapshots(hub, painter, exists),
        allowed_origins=settings.allowed_origins,
        trusted_proxies=parse_networks(settings.trusted_proxies),
        allowed_hosts=AllowedHosts(settings.allowed_hosts, socket.gethostname()),
        limits=limits,
        connection_metrics=ConnectionMetrics(registry),
    )
    check = partial(watch_server, registry_client, broker, partial(lifecycle.set_degraded, "broker server"))
    return server, [feed.run, partial(watcher.run, hub, lifecycle), check]


def _feed(
    target: RedisTarget, client: aioredis.Redis, hub: Hub, report: Callable[[Exception | None], None]
) -> BrokerFeed | ShardedFeed:
    if is_cluster(target):
        # For clusters alone.
        from elastic_inference.adapters.redis_spread_async import AsyncSpreadClient  # noqa: PLC0415
        from elastic_inference.flows.relay.sharded_feed import ShardedFeed  # noqa: PLC0415

        assert isinstance(client, AsyncSpreadClient)  # noqa: S101  made by `connect_async`
        return ShardedFeed(client, hub, report)
    return BrokerFeed(client, hub, report)


def _connection_limits(settings: WebsocketSettings) -> ConnectionLimits:
    """All viewers of a gateway come from its one address, unless TRUSTED_PROXIES names it: they must find room."""
    total = fit_connections(settings.connections, None).total
    return ConnectionLimits(total, max(total // 2, min(total, settings.max_viewers + _SPARE_CONNECTIONS)))


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels the tasks until all have ended: a cancellation can get lost while a connection is being opened."""
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=0.5)


def run(settings: WebsocketSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Runs the service until the lifecycle stops."""
    keep_freed_memory(_KEPT_BYTES)
    asyncio.run(serve(settings, lifecycle, registry))


def main() -> int:
    """The process's exit code."""
    return run_service(WebsocketSettings, run)


if __name__ == "__main__":
    sys.exit(main())
