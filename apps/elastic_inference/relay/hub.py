"""Who watches what: viewers come and go, subscriptions follow, messages find their stream.

Called by the `server` (viewers) and the `broker_feed` (messages), all on one event loop. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Protocol

from elastic_inference.log import Throttle
from elastic_inference.metrics import RelayMetrics
from elastic_inference.relay.viewer import Viewer
from elastic_inference.relay.watched_stream import WatchedStream

log = logging.getLogger(__name__)

# The broker's messages have piled up for so long: the server is behind, and sends only the newest of each stream.
_BEHIND_AFTER_S = 0.25
_FLUSH_EVERY_S = 0.1


class Feed(Protocol):
    """Where subscriptions are made."""

    def subscribe(self, channel: str) -> None:
        """From now on."""

    def unsubscribe(self, channel: str) -> None:
        """No more."""


class Hub:
    """All watched streams. `feed` must be set before the first viewer comes."""

    feed: Feed

    def __init__(
        self,
        metrics: RelayMetrics,
        executor: Executor,
        reorder_s: float,
        on_watch: Callable[[str], None],
    ) -> None:
        """`on_watch` is told of each stream that gets its first viewer."""
        self._metrics = metrics
        self._executor = executor
        self._reorder_s = reorder_s
        self._on_watch = on_watch
        self._throttle = Throttle()
        self._streams: dict[bytes, WatchedStream] = {}
        self._loop = asyncio.get_running_loop()
        self._drained_at_s = self._flushed_at_s = self._loop.time()
        self._held: dict[WatchedStream, None] = {}

    def __contains__(self, stream_id: str) -> bool:
        return stream_id.encode() in self._streams

    def stream_ids(self) -> list[str]:
        """Streams that have a viewer."""
        return [stream.stream_id for stream in self._streams.values()]

    def viewers(self) -> Iterable[Viewer]:
        """All viewers, a copy."""
        return [
            viewer for stream in self._streams.values() for group in stream.viewers.values() for viewer in tuple(group)
        ]

    def add(self, viewer: Viewer) -> None:
        """This viewer gets what it `wanted` from now on."""
        stream_id = viewer.wanted.stream_id
        stream = self._streams.get(stream_id.encode())
        if stream is None:
            stream = WatchedStream(stream_id, self._reorder_s, self._metrics, self._executor, self._throttle)
            self._streams[stream_id.encode()] = stream
            self.feed.subscribe(stream_id)
            self._on_watch(stream_id)
        viewer.on_sent_later = self._metrics.sent.inc
        stream.viewers[viewer.wanted.format][viewer] = None
        self._count()

    def remove(self, viewer: Viewer) -> None:
        """This viewer has left."""
        name = viewer.wanted.stream_id.encode()
        stream = self._streams.get(name)
        if stream is None:
            return
        stream.viewers[viewer.wanted.format].pop(viewer, None)
        if not len(stream):
            stream.close()
            self._held.pop(stream, None)
            del self._streams[name]
            self.feed.unsubscribe(viewer.wanted.stream_id)
        self._count()

    def on_message(self, channel: bytes, message: bytes) -> None:
        """A message of the broker."""
        stream = self._streams.get(channel)
        if stream is None:
            return
        behind = self._loop.time() - self._drained_at_s > _BEHIND_AFTER_S
        if behind:
            self._held[stream] = None
        stream.receive(message, hold=behind)

    def on_read(self, *, drained: bool) -> None:
        """A read of the broker's messages is through."""
        now_s = self._loop.time()
        if drained:
            self._drained_at_s = now_s
        if self._held and (drained or now_s - self._flushed_at_s > _FLUSH_EVERY_S):
            held, self._held = self._held, {}
            for stream in held:
                stream.flush()
            self._flushed_at_s = self._loop.time()

    def _count(self) -> None:
        self._metrics.streams.set(len(self._streams))
        self._metrics.viewers.set(sum(map(len, self._streams.values())))
