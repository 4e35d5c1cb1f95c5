"""Joins tracks to the frames of one stream. Pure; called by `watched_stream`.

Tracks come from the event service a moment after the frame. While they come in time, a frame waits for its own for at
most HOLD_S. Otherwise it goes out at once, and its tracks with the next frame.
"""

from __future__ import annotations

import struct

from pydantic import TypeAdapter

from elastic_inference.domain.tracks import FrameTracks
from elastic_inference.flows.relay.outgoing import Incoming

HOLD_S = 0.08
# A stream without tracks for so long has no event service: none of its frames waits.
_SILENT_S = 20.0
# Frames of a stream that may wait, and their bytes.
MAX_WAITING = 8
MAX_WAITING_BYTES = 8 * 1024 * 1024
# Frames and tracks that are remembered until the other half comes.
_MAX_KNOWN = 64
_MAX_JOINED = 16

_JSON = TypeAdapter(tuple[FrameTracks, ...])
_LENGTH = struct.Struct(">I")


class FrameTracksJoin:
    """Not thread-safe. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._ready: dict[int, FrameTracks] = {}
        # Frames whose tracks have not come: order -> when the frame came.
        self._missing: dict[int, float] = {}
        self._heard_s = float("-inf")
        self._lag_s = 0.0

    def receive(self, frames: list[FrameTracks], now_s: float) -> None:
        """Takes tracks from the event service."""
        self._heard_s = now_s
        for each in frames:
            asked_s = self._missing.pop(each.order, None)
            self._lag_s = 0.0 if asked_s is None else now_s - asked_s
            self._ready[each.order] = each
        while len(self._ready) > _MAX_KNOWN:
            del self._ready[next(iter(self._ready))]

    def has(self, order: int) -> bool:
        """Whether the tracks of this frame are here."""
        return order in self._ready

    def wait_until_s(self, order: int, now_s: float) -> float | None:
        """A frame has come: until when it should wait for its tracks; None if it should not."""
        if order in self._ready or now_s - self._heard_s > _SILENT_S:
            return None
        self._missing[order] = now_s
        if len(self._missing) > _MAX_KNOWN:
            del self._missing[next(iter(self._missing))]
        return now_s + HOLD_S if self._lag_s <= HOLD_S else None

    def join(self, incoming: Incoming) -> Incoming:
        """The frame with its tracks, and with those that were late for earlier frames."""
        if not self._ready or not incoming.document.endswith(b"}"):
            return incoming
        orders = [order for order in self._ready if order <= incoming.order]
        if not orders:
            return incoming
        found = tuple(self._ready.pop(order) for order in orders)[-_MAX_JOINED:]
        document = b'%b,"tracks":%b}' % (incoming.document[:-1], _JSON.dump_json(found))
        jpeg = memoryview(incoming.message)[_LENGTH.size + len(incoming.document) :]
        message = b"".join((_LENGTH.pack(len(document)), document, jpeg))
        return Incoming(message, document, incoming.order, incoming.identity)
