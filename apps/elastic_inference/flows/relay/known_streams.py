"""Decides whether a stream exists: inferred now, or at least pushed by a live producer.

Called by the `server` for each new viewer of a stream that nobody watches yet, and for snapshots.
"""

from __future__ import annotations

import logging

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys

log = logging.getLogger(__name__)

# The lifetime of a producer's `source` hash.
_SOURCE_LIFE_S = 10
# A time further in the future was written before Redis' clock was set back. The same limit as in `QueueReader.sources`,
# which is not imported, since it would load libraries that this server does not need.
_SOURCE_AHEAD_S = 60


class BrokerUnavailableError(Exception):
    """The broker is unavailable, so it is unknown whether the stream exists."""


class KnownStreams:
    """Asks the broker's registry, then the frame queue. For one event loop; not thread-safe."""

    def __init__(self, registry: StreamRegistry, queue: aioredis.Redis | None) -> None:
        """Without `queue`, or if its login may not read the queue's keys, only inferred streams are known."""
        self._registry = registry
        self._queue = queue
        self._throttle = Throttle()

    async def exists(self, stream_id: str) -> bool:
        """Whether the stream exists; False for a malformed id. Raises BrokerUnavailableError."""
        names = keys.split_stream_id(stream_id)
        if names is None:
            return False
        try:
            if await self._registry.exists(stream_id):
                return True
        except (RedisError, OSError) as error:
            raise BrokerUnavailableError(str(error)) from error
        return await self._is_pushed(*names)

    async def _is_pushed(self, name: str, infer_type: str) -> bool:
        """Whether a producer pushes frames, even if no pod infers them at the moment."""
        if self._queue is None:
            return False
        try:
            async with self._queue.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.zscore(keys.sources(infer_type), name)
                (seconds, _micros), score_ms = await pipe.execute()
        except (RedisError, OSError) as error:
            if self._throttle.allow("queue"):
                log.info("cannot ask the frame queue which streams are pushed: %s", error)
            return False
        earliest_ms, latest_ms = (seconds - _SOURCE_LIFE_S) * 1000, (seconds + _SOURCE_AHEAD_S) * 1000
        return score_ms is not None and earliest_ms <= float(score_ms) <= latest_ms
