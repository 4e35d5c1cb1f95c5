"""Starts delivery with a service's settings. Called by the event service."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.redis_connection import connect, explain
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import DeliveryMetrics
from elastic_inference.base.settings.delivery import DeliverySettings
from elastic_inference.domain import keys
from elastic_inference.flows.deliver.delivery import Delivery

CLIENT_NAME = "ei-delivery"


def start(
    settings: DeliverySettings, lifecycle: Lifecycle, registry: CollectorRegistry, partitions: Callable[[], int]
) -> Delivery:
    """Starts delivery; the caller closes it. `partitions` returns 0 while their number is not known."""
    target = settings.broker
    delivery = Delivery(
        lambda: connect(target, name=CLIENT_NAME),
        file=settings.sinks_file,
        secrets=settings.sink_secrets_dir,
        networks=settings.sink_networks,
        partitions=partitions,
        worker=keys.pod_name(),
        lifecycle=lifecycle,
        metrics=DeliveryMetrics(registry),
        explain=lambda error: explain(error, target),
    )
    delivery.start()
    return delivery
