"""The newest frame of a stream with its boxes drawn, as one JPEG: `GET /<stream id>/snapshot.jpg`.

Called by the `server`. A snapshot needs no viewer and does not count for `MAX_VIEWERS`. Requests for a stream share one
image, which is served for another half second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from elastic_inference.domain.errors import ElasticInferenceError, InvalidFrameError, InvalidResultError
from elastic_inference.flows.relay.drawn_frames import Painter
from elastic_inference.flows.relay.hub import Hub

WAIT_S = 3.0
FRESH_S = 0.5
MAX_AT_ONCE = 16
BROKER_UNAVAILABLE = "The stream broker is unavailable: try again in a moment."


class SnapshotError(ElasticInferenceError):
    """There is no snapshot; `status` is the HTTP status, the message is for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Snapshots:
    """Takes snapshots; one object per server, over the `hub`. For one event loop; not thread-safe."""

    def __init__(self, hub: Hub, painter: Painter, exists: Callable[[str], Awaitable[bool]]) -> None:
        """`exists` tells whether an unwatched stream exists; it may raise BrokerUnavailableError."""
        self._hub = hub
        self._painter = painter
        self._exists = exists
        self._under_way: dict[str, asyncio.Task[bytes]] = {}
        self._made: dict[str, tuple[float, bytes]] = {}

    async def take(self, stream_id: str) -> bytes:
        """A JPEG, at most half a second old. Raises SnapshotError or BrokerUnavailableError."""
        now_s = time.monotonic()
        self._made = {key: kept for key, kept in self._made.items() if now_s - kept[0] < FRESH_S}
        if stream_id in self._made:
            return self._made[stream_id][1]
        task = self._under_way.get(stream_id)
        if task is None:
            if len(self._under_way) >= MAX_AT_ONCE:
                raise SnapshotError(429, f"{MAX_AT_ONCE} snapshots are being taken: try again in a moment.")
            task = asyncio.create_task(self._make(stream_id))
            self._under_way[stream_id] = task
            task.add_done_callback(lambda done: self._finished(stream_id, done))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise SnapshotError(503, "The websocket server is shutting down: try again in a moment.") from None
            raise

    def close(self) -> None:
        """Cancels snapshots in progress: waiting callers get a SnapshotError."""
        for task in self._under_way.values():
            task.cancel()

    def _finished(self, stream_id: str, task: asyncio.Task[bytes]) -> None:
        del self._under_way[stream_id]
        if not task.cancelled() and task.exception() is None:
            self._made[stream_id] = (time.monotonic(), task.result())

    async def _make(self, stream_id: str) -> bytes:
        if stream_id not in self._hub and not await self._exists(stream_id):
            raise SnapshotError(404, f"There is no stream {stream_id[:300]!r}.")
        try:
            async with asyncio.timeout(WAIT_S):
                message = await self._hub.next_message(stream_id)
        except TimeoutError:
            if not self._hub.feed.connected:
                raise SnapshotError(503, BROKER_UNAVAILABLE) from None
            raise SnapshotError(504, f"No frame of {stream_id} arrived within {WAIT_S:.0f} s.") from None
        try:
            return await self._painter.draw(message)
        except (InvalidResultError, InvalidFrameError) as error:
            raise SnapshotError(504, f"The newest frame of {stream_id} cannot be drawn: {error}.") from None
