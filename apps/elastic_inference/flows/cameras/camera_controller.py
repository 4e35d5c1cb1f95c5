"""The camera controller: the owner of a cluster's cameras. Run by `ei-camera-controller`.

Several replicas may run: the one that holds the owner's lock works. The others also watch the cluster, so that each
can take over at once.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import replace

import redis.asyncio as aioredis
from prometheus_client import CollectorRegistry
from redis.exceptions import RedisError

from elastic_inference.adapters.camera_registry.listing import CameraListing
from elastic_inference.adapters.camera_registry.owner import CameraOwner
from elastic_inference.adapters.camera_registry.requests import pause
from elastic_inference.adapters.camera_registry.state import status_of
from elastic_inference.adapters.camera_resource.api_errors import API_ERRORS
from elastic_inference.adapters.camera_resource.api_errors import explain as explain_api
from elastic_inference.adapters.camera_resource.kubernetes_store import KubernetesStore, connect
from elastic_inference.adapters.redis_connection import connect_async, explain
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.base.config import CameraControllerSettings
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.service_runner import run_service
from elastic_inference.domain import keys

log = logging.getLogger(__name__)

CLIENT_NAME = "ei-camera-controller"
STATUS_EVERY_S = 1.0
BROKER_LIMIT_S, BROKER_PAUSE_S = 2.0, 10.0
BEAT_LIMIT_S = 30.0


def run(settings: CameraControllerSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Works until the stop begins. Ready while Redis and the API server answer."""
    del registry
    for part in ("queue", "cluster"):
        lifecycle.declare(part)
    asyncio.run(_serve(settings, lifecycle))


async def _serve(settings: CameraControllerSettings, lifecycle: Lifecycle) -> None:
    client = connect()
    stop = lifecycle.stop_event()
    queue = connect_async(settings.queue, key=keys.CAMERA_SPECS, name=CLIENT_NAME)
    store = KubernetesStore(client, client.namespace)
    log.info("the cameras of the namespace %s", client.namespace)

    def report(problem: str | None) -> None:
        lifecycle.beat("cameras", BEAT_LIMIT_S)
        _show(lifecycle, "cluster", store.problem)
        _show(lifecycle, "queue", "" if problem == store.problem else problem or "")

    broker = connect_async(settings.broker, name=CLIENT_NAME)
    owner = CameraOwner(queue, store, keys.pod_name(), report, lambda error: explain(error, settings.queue))
    watching = asyncio.create_task(store.watch(stop))
    reporting = asyncio.create_task(_report_statuses(stop, owner, store, CameraListing(queue), Pods(broker)))
    try:
        await owner.run(stop)
    finally:
        for task in (watching, reporting):
            task.cancel()
        await asyncio.gather(watching, reporting, return_exceptions=True)
        lifecycle.end_beat("cameras")
        await store.close()
        await queue.aclose()
        await broker.aclose()


def _show(lifecycle: Lifecycle, part: str, problem: str) -> None:
    if problem:
        lifecycle.set_missing(part, problem)
    else:
        lifecycle.set_ready(part)


class Pods:
    """Which inference types have a pod, as the stream broker knows."""

    def __init__(self, broker: aioredis.Redis) -> None:
        self._registry = StreamRegistry(broker)
        self._throttle = Throttle()
        self._wait_until = float("-inf")

    async def types(self) -> frozenset[str] | None:
        """None while the broker does not answer; the cameras' other state does not wait for it."""
        if time.monotonic() < self._wait_until:
            return None
        try:
            async with asyncio.timeout(BROKER_LIMIT_S):
                return frozenset(each.type for each in await self._registry.workers())
        except (RedisError, OSError, TimeoutError) as error:
            self._wait_until = time.monotonic() + BROKER_PAUSE_S
            if note := self._throttle.note("broker"):
                log.warning("it is not known which types have pods: %s %s", str(error) or type(error).__name__, note)
            return None


async def _report_statuses(
    stop: asyncio.Event, owner: CameraOwner, store: KubernetesStore, listing: CameraListing, pods: Pods
) -> None:
    """Writes the cameras' states into the status of their objects, every second."""
    throttle = Throttle()
    while not stop.is_set():
        try:
            if owner.leads:
                records = replace(await listing.read(), served=await pods.types())
                cameras = records.cameras.items()
                await store.report({name: status_of(name, camera, records) for name, camera in cameras})
        except API_ERRORS as error:
            if note := throttle.note("cluster"):
                log.warning("the status of cameras cannot be written: %s %s", explain_api(error), note)
        except RedisError as error:
            if note := throttle.note("queue"):
                log.warning("the status of cameras cannot be read: %s %s", error, note)
        except Exception:
            # Top of a task: a bug in one round must not end the others.
            log.exception("a round of reports to the cluster failed")
        await pause(stop, STATUS_EVERY_S)


def main() -> int:
    """Entry point."""
    return run_service(CameraControllerSettings, run)


if __name__ == "__main__":
    sys.exit(main())
