"""Joins tracks with the frames of one stream. Pure; called by `watched_stream`.

Tracks arrive from the event service a moment after the frame. While they arrive in time, a frame waits up to HOLD_S
for its own. Otherwise it is sent at once, and its tracks follow with the next frame.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any

from elastic_inference.flows.relay.outgoing import Incoming

if TYPE_CHECKING:
    from elastic_inference.domain.tracks import FrameTracks

HOLD_S = 0.08
# Without tracks for this long, a stream seems to have no event service: its frames do not wait.
_SILENT_S = 20.0
# Maximum number and bytes of waiting frames per stream.
MAX_WAITING = 8
MAX_WAITING_BYTES = 8 * 1024 * 1024
# Maximum number of frames and tracks that are kept until the other half arrives.
_MAX_KNOWN = 64
_MAX_JOINED = 16

_LENGTH = struct.Struct(">I")


class FrameTracksJoin:
    """The frames and tracks of one stream. Not thread-safe. Times are in seconds of one clock."""

    def __init__(self) -> None:
        self._ready: dict[int, FrameTracks] = {}
        # Frames without tracks yet: order -> time of arrival.
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
        """Whether the tracks of this frame have arrived."""
        return order in self._ready

    def wait_until_s(self, order: int, now_s: float) -> float | None:
        """For a frame that has arrived: until when to wait for its tracks; None for not at all."""
        if order in self._ready or now_s - self._heard_s > _SILENT_S:
            return None
        self._missing[order] = now_s
        if len(self._missing) > _MAX_KNOWN:
            del self._missing[next(iter(self._missing))]
        return now_s + HOLD_S if self._lag_s <= HOLD_S else None

    def join(self, incoming: Incoming) -> Incoming:
        """Returns the frame with its tracks, and with late ones of earlier frames."""
        if not self._ready or not incoming.document.endswith(b"}"):
            return incoming
        orders = [order for order in self._ready if order <= incoming.order]
        if not orders:
            return incoming
        found = tuple(self._ready.pop(order) for order in orders)[-_MAX_JOINED:]
        document = b'%b,"tracks":%b}' % (incoming.document[:-1], _adapter().dump_json(found))
        jpeg = memoryview(incoming.message)[_LENGTH.size + len(incoming.document) :]
        message = b"".join((_LENGTH.pack(len(document)), document, jpeg))
        return Incoming(message, document, incoming.order, incoming.identity)


@cache
def _adapter() -> Any:
    """Writes tracks as JSON. Made with the first tracks, which most servers never get."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    from elastic_inference.domain.tracks import FrameTracks  # noqa: PLC0415

    return TypeAdapter(tuple[FrameTracks, ...])
