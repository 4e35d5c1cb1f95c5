"""Where events are delivered to: a file and a library for each kind. Called by `flows/deliver`."""

from __future__ import annotations

from elastic_inference.adapters.sinks.access import SinkAccess
from elastic_inference.adapters.sinks.base import (
    DeliveryError,
    Item,
    LoginRefusedError,
    RefusedError,
    Sink,
    UnavailableError,
)
from elastic_inference.domain.sink_spec import KafkaSink, LogSink, MqttSink, RedisSink, SinkSpec, WebhookSink

__all__ = [
    "DeliveryError",
    "Item",
    "LoginRefusedError",
    "RefusedError",
    "Sink",
    "SinkAccess",
    "UnavailableError",
    "open_sink",
]


def open_sink(spec: SinkSpec, access: SinkAccess, worker: str) -> Sink:
    """The sink of a specification; it connects later. Loads only the library that it needs."""
    match spec:
        case WebhookSink():
            from elastic_inference.adapters.sinks.webhook import Webhook  # noqa: PLC0415

            return Webhook(spec, access)
        case MqttSink():
            from elastic_inference.adapters.sinks.mqtt import Mqtt  # noqa: PLC0415

            return Mqtt(spec, access, worker)
        case KafkaSink():
            from elastic_inference.adapters.sinks.kafka import Kafka  # noqa: PLC0415

            return Kafka(spec, access)
        case RedisSink():
            from elastic_inference.adapters.sinks.redis_stream import RedisStream  # noqa: PLC0415

            return RedisStream(spec, access)
        case LogSink():
            from elastic_inference.adapters.sinks.log_line import LogLine  # noqa: PLC0415

            return LogLine(spec)
