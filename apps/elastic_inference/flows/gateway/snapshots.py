"""The newest frame of a stream with its boxes drawn: asked of the broker for a moment, shared by who asks meanwhile.

Called by the snapshot handler. Knows the broker's channel and no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import redis.asyncio as aioredis

from elastic_inference.adapters.drawing import draw_result
from elastic_inference.adapters.redis_connection import REDIS_ERRORS
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.domain.errors import ElasticInferenceError, InvalidFrameError, InvalidResultError
from elastic_inference.domain.result import parse_result, split_message

WAIT_S = 3.0
FRESH_S = 0.5
MAX_AT_ONCE = 16


class NoFrameError(ElasticInferenceError):
    """No frame came in time."""


class BusyError(ElasticInferenceError):
    """Too many different streams are waited for."""


class Snapshots:
    """One per gateway, over a client of the broker."""

    def __init__(self, registry: StreamRegistry, broker: aioredis.Redis) -> None:
        self._registry = registry
        self._broker = broker
        self._under_way: dict[str, asyncio.Task[bytes]] = {}
        self._made: dict[str, tuple[float, bytes]] = {}
        # One thread: each that ever draws keeps its pictures' memory (2 to 4 MB), and a snapshot takes milliseconds.
        self._drawer = ThreadPoolExecutor(1, thread_name_prefix="snapshot")

    async def take(self, stream_id: str) -> bytes:
        """A JPEG, half a second old at most. Raises NoFrameError, BusyError or one of REDIS_ERRORS."""
        now = time.monotonic()
        self._made = {key: kept for key, kept in self._made.items() if now - kept[0] < FRESH_S}
        if stream_id in self._made:
            return self._made[stream_id][1]
        task = self._under_way.get(stream_id)
        if task is None:
            if len(self._under_way) >= MAX_AT_ONCE:
                raise BusyError(f"{MAX_AT_ONCE} snapshots are being taken: try again in a moment")
            task = asyncio.create_task(self._make(stream_id))
            self._under_way[stream_id] = task
            task.add_done_callback(lambda done: self._finished(stream_id, done))
        return await asyncio.shield(task)

    def _finished(self, stream_id: str, task: asyncio.Task[bytes]) -> None:
        del self._under_way[stream_id]
        if not task.cancelled() and task.exception() is None:
            self._made[stream_id] = (time.monotonic(), task.result())

    async def _make(self, stream_id: str) -> bytes:
        message = await self._next_message(stream_id)
        try:
            document, jpeg = split_message(message)
            result = parse_result(document)
            return await asyncio.get_running_loop().run_in_executor(self._drawer, draw_result, result, jpeg)
        except (InvalidResultError, InvalidFrameError) as error:
            raise NoFrameError(f"the newest frame of {stream_id} can't be drawn: {error}") from None

    async def _next_message(self, stream_id: str) -> bytes:
        pubsub = self._broker.pubsub()
        try:
            async with asyncio.timeout(WAIT_S):
                # Subscribed first: the pods publish once somebody watches.
                await pubsub.subscribe(stream_id)
                await self._registry.watch([stream_id])
                while True:
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=WAIT_S)
                    if message is not None and message["type"] == "message":
                        return bytes(message["data"])
        except TimeoutError:
            raise NoFrameError(f"no frame of {stream_id} came within {WAIT_S:.0f} s") from None
        finally:
            with contextlib.suppress(*REDIS_ERRORS):  # it is thrown away
                await pubsub.aclose()  # type: ignore[no-untyped-call]
