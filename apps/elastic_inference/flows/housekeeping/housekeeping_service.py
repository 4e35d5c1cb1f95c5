"""The housekeeping service: runs rounds until it is stopped. Called by `apps/housekeeping_service.py`."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.camera_registry.file_store import FileStore
from elastic_inference.adapters.camera_registry.owner import CameraOwner
from elastic_inference.adapters.frame_queue import CrowdControl, Janitor, MemoryRelief, QueueReader, Sweeper
from elastic_inference.adapters.redis_connection import connect_async, explain
from elastic_inference.adapters.redis_server_check import watch_server
from elastic_inference.adapters.redis_strangers import Strangers
from elastic_inference.adapters.stream_broker.reader_bounds import ReaderBounds
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.base.config import HousekeepingSettings
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import HousekeepingMetrics
from elastic_inference.base.service_runner import run_service
from elastic_inference.domain import keys
from elastic_inference.flows.housekeeping.crowd_watch import CrowdWatch
from elastic_inference.flows.housekeeping.memory_watch import MemoryWatch
from elastic_inference.flows.housekeeping.reader_watch import ReaderWatch
from elastic_inference.flows.housekeeping.rounds import Housekeeping

if TYPE_CHECKING:
    from elastic_inference.flows.housekeeping.scaler_service import ScalerService

CLIENT_NAME = "ei-housekeeping"


def run(settings: HousekeepingSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Runs rounds until the stop begins. Ready while queue and broker both answer."""
    for part in ("queue", "broker"):
        lifecycle.declare(part)
    scaler = None
    if settings.scaler_port is not None:
        # Only if it is on: the HTTP/2 library takes time and memory.
        from elastic_inference.flows.housekeeping.scaler_service import ScalerService  # noqa: PLC0415

        scaler = ScalerService(settings, registry)
    asyncio.run(_serve(settings, lifecycle, registry, scaler))


async def _serve(
    settings: HousekeepingSettings, lifecycle: Lifecycle, registry: CollectorRegistry, scaler: ScalerService | None
) -> None:
    stop = lifecycle.stop_event()
    targets = {"queue": settings.queue, "broker": settings.broker}
    reader = QueueReader(settings.queue, CLIENT_NAME)
    broker = connect_async(settings.broker, name=CLIENT_NAME)
    sweeper = Sweeper(reader.clients, settings)
    strangers = Strangers(reader.clients.of(""), settings.queue, CLIENT_NAME)
    relief = MemoryRelief(reader.clients)
    metrics = HousekeepingMetrics(registry)
    rounds = Housekeeping(
        reader,
        Janitor(reader.clients, settings, keys.pod_name()),
        sweeper,
        StreamRegistry(broker),
        strangers=strangers,
        metrics=metrics,
        lifecycle=lifecycle,
        explain=lambda error, part: explain(error, targets[part]),
    )
    clients = {"queue": reader.clients.of(""), "broker": broker}
    checks = [
        asyncio.create_task(watch_server(clients[part], target, partial(lifecycle.set_degraded, f"{part} server")))
        for part, target in targets.items()
        if part == "queue" or target != settings.queue
    ]
    owner = asyncio.create_task(_own_cameras(settings, lifecycle, metrics, stop))
    watch = asyncio.create_task(MemoryWatch(relief, rounds.with_pods, metrics).run(stop))
    crowds = CrowdWatch(CrowdControl(reader.clients, settings.token_limit), rounds.types)
    bounds = ReaderBounds(settings.broker, CLIENT_NAME)
    readers = ReaderWatch(bounds, metrics, lambda error: explain(error, settings.broker))
    others = [owner, watch, asyncio.create_task(crowds.run(stop)), asyncio.create_task(readers.run(stop))]
    if scaler is not None:
        others.append(asyncio.create_task(scaler.run(reader, broker, stop)))
    try:
        await rounds.run(stop)
    finally:
        await asyncio.gather(*others)
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        lifecycle.end_beat("rounds")
        await bounds.close()
        await relief.close()
        await sweeper.close()
        await strangers.close()
        await reader.close()
        await broker.aclose()


async def _own_cameras(
    settings: HousekeepingSettings, lifecycle: Lifecycle, metrics: HousekeepingMetrics, stop: asyncio.Event
) -> None:
    """Owns the cameras of CAMERAS_FILE, if it is set. A broken file degrades the service and does not end it."""
    path = settings.cameras_file
    if path is None:
        return
    client = connect_async(settings.queue, key=keys.CAMERA_SPECS, name=CLIENT_NAME)
    try:
        await CameraOwner(
            client,
            FileStore(path, metrics.camera_files_refused.inc),
            keys.pod_name(),
            partial(lifecycle.set_degraded, "cameras"),
            lambda error: explain(error, settings.queue),
        ).run(stop)
    finally:
        await client.aclose()


def main() -> int:
    """Entry point."""
    return run_service(HousekeepingSettings, run)


if __name__ == "__main__":
    sys.exit(main())
