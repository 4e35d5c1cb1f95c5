"""The event service: from settings to a running worker. Called by `apps/event_service.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.event_store import EventStore
from elastic_inference.adapters.event_store.image_store import ImageStore
from elastic_inference.adapters.event_store.source_reports import SourceReports
from elastic_inference.adapters.redis_connection import connect, explain, is_cluster
from elastic_inference.base.config import EventSettings, RedisTarget
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import EventMetrics
from elastic_inference.base.service_runner import run_service
from elastic_inference.domain import keys
from elastic_inference.domain.events.images import ImageChoice, ImageRule
from elastic_inference.flows.deliver import service as delivery
from elastic_inference.flows.events.camera_rules import RulesReader
from elastic_inference.flows.events.event_worker import EventWorker
from elastic_inference.flows.events.image_keeper import END_LIMIT_S, ImageKeeper
from elastic_inference.flows.events.partition_leases import PartitionLeases

CLIENT_NAME = "ei-events"
_MAX_CLIENTS = 64


def run(settings: EventSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Leases partitions, analyses results and delivers events until the stop begins. Ready while Redis answers."""
    metrics = EventMetrics(registry)
    broker = connect(settings.broker, name=CLIENT_NAME)
    queue = connect(settings.queue, key=keys.CAMERA_SPECS, name=CLIENT_NAME)

    types = _TypeClients(settings.queue, queue)

    def why(error: Exception) -> str:
        return explain(error, settings.broker)

    leases = PartitionLeases(broker, keys.pod_name(), settings.result_partitions, lifecycle=lifecycle, explain=why)
    images = _image_keeper(settings, metrics, why)
    store = EventStore(broker, settings.partition_maxlen, settings.event_retention_s)
    worker = EventWorker(
        store,
        leases,
        RulesReader(queue),
        window_s=settings.event_reorder_ms / 1000,
        metrics=metrics,
        lifecycle=lifecycle,
        explain=why,
        images=images,
        reports=SourceReports(types.of),
        camera_lost_s=settings.event_camera_lost_s,
    )
    fetching = lifecycle.thread("images", images.run, may_end=True) if images is not None else None
    if fetching is not None:
        fetching.daemon = True  # a call that hangs must not block the exit
        fetching.start()
    leases.start()
    sinks = delivery.start(settings, lifecycle, registry, lambda: leases.partitions)
    try:
        worker.run()
    finally:
        sinks.close()
        if images is not None and fetching is not None:
            images.close()
            fetching.join(END_LIMIT_S)
        leases.close()
        store.close()
        broker.close()
        types.close()
        queue.close()


class _TypeClients:
    """Clients of the queue's Redis by type: all of them one, unless it is a cluster."""

    def __init__(self, target: RedisTarget, single: redis.Redis) -> None:
        self._target = target
        self._single = None if is_cluster(target) else single
        self._clients: dict[str, redis.Redis] = {}

    def of(self, infer_type: str) -> redis.Redis:
        """The client for the keys of a type."""
        if self._single is not None:
            return self._single
        if infer_type not in self._clients:
            if len(self._clients) >= _MAX_CLIENTS:
                self.close()
            key = keys.sources(infer_type)
            self._clients[infer_type] = connect(self._target, key=key, name=CLIENT_NAME)
        return self._clients[infer_type]

    def close(self) -> None:
        """Closes the connections that it has made."""
        while self._clients:
            self._clients.popitem()[1].close()


def _image_keeper(
    settings: EventSettings, metrics: EventMetrics, explain_error: Callable[[Exception], str]
) -> ImageKeeper | None:
    if not settings.event_snapshot_mb:
        return None
    client = connect(settings.broker, key=keys.SNAPSHOT_INDEX, name=CLIENT_NAME)
    limit_bytes = settings.event_snapshot_mb << 20
    store = ImageStore(client, keys.pod_name(), limit_bytes=limit_bytes, life_s=settings.event_snapshot_s)
    choice = ImageChoice(ImageRule(settings.event_snapshot_rule), settings.public_url)
    return ImageKeeper(store, choice, metrics, explain_error)


def main() -> int:
    """Entry point."""
    return run_service(EventSettings, run)


if __name__ == "__main__":
    sys.exit(main())
