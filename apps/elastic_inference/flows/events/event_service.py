"""The event service: from settings to a running worker. Called by `apps/event_service.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.event_store import EventStore
from elastic_inference.adapters.event_store.image_store import ImageStore
from elastic_inference.adapters.redis_connection import connect, explain
from elastic_inference.base.config import EventSettings
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


def run(settings: EventSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Leases partitions, analyses results and delivers events until the stop begins. Ready while Redis answers."""
    metrics = EventMetrics(registry)
    broker = connect(settings.broker, name=CLIENT_NAME)
    queue = connect(settings.queue, key=keys.CAMERA_SPECS, name=CLIENT_NAME)

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
        queue.close()


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
