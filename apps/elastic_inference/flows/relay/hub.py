"""Knows who watches which stream: keeps viewers, subscribes for them, and passes each message to its stream.

Called by the `server` (viewers), `snapshots` and the `broker_feed` (messages), all on one event loop. Uses no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import RelayMetrics
from elastic_inference.domain import keys
from elastic_inference.flows.relay.drawn_frames import Painter
from elastic_inference.flows.relay.viewer import Viewer
from elastic_inference.flows.relay.watched_stream import WatchedStream

log = logging.getLogger(__name__)

# The server is behind once messages of the broker have been waiting for this long.
BEHIND_AFTER_S = 0.25
FLUSH_EVERY_S = 0.1


class Feed(Protocol):
    """The connection to the broker's channels."""

    @property
    def connected(self) -> bool:
        """Whether subscriptions are in effect now."""

    def subscribe(self, channel: str) -> None:
        """Starts delivering a channel's messages."""

    def unsubscribe(self, channel: str) -> None:
        """Ends the subscription of this channel."""


class Backlog:
    """Decides from its reads whether the server keeps up with the broker. Pure; times in seconds of one clock.

    Pods publish in batches, so a read that leaves messages waiting means nothing yet. If no read has emptied the socket
    for BEHIND_AFTER_S, more arrives than can be forwarded, and only the newest result of each stream is worth sending.
    """

    def __init__(self) -> None:
        self._waiting_since_s: float | None = None
        self._flushed_at_s = 0.0

    def behind(self, now_s: float) -> bool:
        """Whether to keep only the newest message of each stream."""
        return self._waiting_since_s is not None and now_s - self._waiting_since_s > BEHIND_AFTER_S

    def read(self, now_s: float, *, drained: bool) -> bool:
        """Records the end of a read; True when held messages should be sent now."""
        if drained:
            self._waiting_since_s = None
        elif self._waiting_since_s is None:
            self._waiting_since_s = now_s
        return drained or now_s - self._flushed_at_s > FLUSH_EVERY_S

    def flushed(self, now_s: float) -> None:
        """Records that held messages were sent."""
        self._flushed_at_s = now_s


class Hub:
    """All watched streams. `feed` must be set before the first viewer is added."""

    feed: Feed

    def __init__(
        self,
        metrics: RelayMetrics,
        painter: Painter,
        reorder_s: float,
        on_watch: Callable[[str], None],
    ) -> None:
        """`on_watch` is called when a stream gets its first viewer."""
        self._metrics = metrics
        self._painter = painter
        self._reorder_s = reorder_s
        self._on_watch = on_watch
        self._throttle = Throttle()
        self._streams: dict[bytes, WatchedStream] = {}
        # The same streams by the channel of their tombstones.
        self._by_tombstones: dict[bytes, WatchedStream] = {}
        # And by the channel of their tracks.
        self._by_tracks: dict[bytes, WatchedStream] = {}
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog()
        self._held: dict[WatchedStream, None] = {}

    def __contains__(self, stream_id: str) -> bool:
        return stream_id.encode() in self._streams

    def stream_ids(self) -> list[str]:
        """Streams that are watched."""
        return [stream.stream_id for stream in self._streams.values()]

    def viewers(self) -> Iterable[Viewer]:
        """A copy of the list of viewers."""
        return [
            viewer for stream in self._streams.values() for group in stream.viewers.values() for viewer in tuple(group)
        ]

    def add(self, viewer: Viewer) -> None:
        """Starts to send this viewer the stream that it `wanted`."""
        stream = self._open(viewer.wanted.stream_id)
        viewer.on_sent_later = self._metrics.sent.inc
        stream.viewers[viewer.wanted.format][viewer] = None
        self._count()

    def remove(self, viewer: Viewer) -> None:
        """Forgets a viewer that has left."""
        stream = self._streams.get(viewer.wanted.stream_id.encode())
        if stream is not None:
            stream.viewers[viewer.wanted.format].pop(viewer, None)
            self._close_if_unused(stream)
            self._count()

    async def next_message(self, stream_id: str) -> bytes:
        """The next result message of a stream, watched or not. Waits without a limit."""
        stream = self._open(stream_id)
        message: asyncio.Future[bytes] = self._loop.create_future()
        stream.waiting.add(message)
        self._count()
        try:
            return await message
        finally:
            stream.waiting.discard(message)
            self._close_if_unused(stream)
            self._count()

    def _open(self, stream_id: str) -> WatchedStream:
        stream = self._streams.get(stream_id.encode())
        if stream is None:
            stream = WatchedStream(stream_id, self._reorder_s, self._metrics, self._painter, self._throttle)
            tombstones, tracks = keys.tombstones(stream_id), keys.tracks(stream_id)
            self._streams[stream_id.encode()] = self._by_tombstones[tombstones.encode()] = stream
            self._by_tracks[tracks.encode()] = stream
            # Pods publish results and tombstones once the stream has a subscriber; the event service, tracks.
            self.feed.subscribe(tracks)
            self.feed.subscribe(tombstones)
            self.feed.subscribe(stream_id)
            self._on_watch(stream_id)
        return stream

    def _close_if_unused(self, stream: WatchedStream) -> None:
        if stream.is_used:
            return
        stream.close()
        self._held.pop(stream, None)
        tombstones, tracks = keys.tombstones(stream.stream_id), keys.tracks(stream.stream_id)
        del self._streams[stream.stream_id.encode()], self._by_tombstones[tombstones.encode()]
        del self._by_tracks[tracks.encode()]
        self.feed.unsubscribe(stream.stream_id)
        self.feed.unsubscribe(tombstones)
        self.feed.unsubscribe(tracks)

    def on_message(self, channel: bytes, message: bytes) -> None:
        """Passes a message on to its stream."""
        behind = self._backlog.behind(self._loop.time())
        if (stream := self._streams.get(channel)) is not None:
            stream.receive(message, hold=behind)
        elif (stream := self._by_tombstones.get(channel)) is not None:
            stream.receive_tombstones(message, hold=behind)
        elif (stream := self._by_tracks.get(channel)) is not None:
            stream.receive_tracks(message)
            return
        else:
            return
        if behind:
            self._held[stream] = None

    def on_read(self, *, drained: bool) -> None:
        """Sends held messages where that is due."""
        if self._backlog.read(self._loop.time(), drained=drained) and self._held:
            held, self._held = self._held, {}
            for stream in held:
                stream.flush()
            self._backlog.flushed(self._loop.time())

    def _count(self) -> None:
        self._metrics.streams.set(len(self._streams))
        self._metrics.viewers.set(sum(map(len, self._streams.values())))
