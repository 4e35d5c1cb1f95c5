"""What the REST handlers work with. Each part is made with the first request for it, and its code loaded then.

The gateway starts without them: the models of cameras, events and sinks took a quarter of its start.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING

import redis.asyncio

from elastic_inference.adapters.redis_connection import explain
from elastic_inference.base.config import RedisTarget

if TYPE_CHECKING:
    from elastic_inference.adapters.stream_broker.registry import StreamRegistry
    from elastic_inference.flows.gateway.cameras import PoolCameras
    from elastic_inference.flows.gateway.event_images import EventImages
    from elastic_inference.flows.gateway.event_reader import EventReader
    from elastic_inference.flows.gateway.model_editor import GatewayModels
    from elastic_inference.flows.gateway.pool_state import PoolState
    from elastic_inference.flows.gateway.sink_editor import GatewaySinks

# ruff: noqa: PLC0415


class RestParts:
    """One object per gateway, on its event loop."""

    def __init__(
        self,
        state: PoolState,
        broker: tuple[redis.asyncio.Redis, RedisTarget],
        cameras: tuple[redis.asyncio.Redis, RedisTarget],
        registry: StreamRegistry,
    ) -> None:
        """`broker` and `cameras` are clients of the stream broker and of the cameras' registry, and their addresses."""
        self._state = state
        self._broker, self._broker_target = broker
        self._cameras, self._cameras_target = cameras
        self._registry = registry

    @cached_property
    def cameras(self) -> PoolCameras:
        """The cameras of the pool."""
        from elastic_inference.flows.gateway.cameras import PoolCameras

        explained = partial(explain, target=self._cameras_target)
        return PoolCameras(self._cameras, self._state.now_s, explained, self._state.served_types)

    @cached_property
    def events(self) -> EventReader:
        """The log of events."""
        from elastic_inference.adapters.event_store.event_log import EventLog
        from elastic_inference.flows.gateway.event_reader import EventReader

        return EventReader(EventLog(self._broker), partial(explain, target=self._broker_target))

    @cached_property
    def images(self) -> EventImages:
        """The images of events."""
        from elastic_inference.adapters.event_store.image_reader import ImageReader
        from elastic_inference.flows.gateway.event_images import EventImages

        return EventImages(ImageReader(self._broker), self.events)

    @cached_property
    def sinks(self) -> GatewaySinks:
        """The sinks of events."""
        from elastic_inference.adapters.outbox.sink_store import SinkStore
        from elastic_inference.flows.gateway.sink_editor import GatewaySinks

        return GatewaySinks(SinkStore(self._broker))

    @cached_property
    def models(self) -> GatewayModels:
        """The models of all types."""
        from elastic_inference.adapters.stream_broker.model_wishes import WishStore
        from elastic_inference.flows.gateway.model_editor import GatewayModels

        return GatewayModels(WishStore(self._broker), self._registry)
