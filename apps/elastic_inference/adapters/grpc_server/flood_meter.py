"""Counts what the clients of one address send, and says which of their connections has to end. Pure.

A limit for each connection alone would not be one: 32 of them, each within it, stopped the event loop.
"""

from __future__ import annotations

# An address that sends more than this in FLOOD_S loses connections. 256 types, asked every 3 s, are a third of it.
FLOOD_BYTES, FLOOD_FRAMES, FLOOD_S = 2 * 1024 * 1024, 40_000, 10.0
# A connection with less than this part of the limit stays: its client does not flood.
_PART = 32


class FloodMeter:
    """One address, for as long as it has connections."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._bytes = self._frames = 0
        # Calls that run now.
        self.calls = 0

    def counts(self, own: Share, size: int, frames: int, now_s: float) -> bool:
        """Counts what a connection has sent. False if it has to end."""
        if now_s - self._since_s > FLOOD_S:
            self._bytes = self._frames = 0
            self._since_s = now_s
        if own.since_s != self._since_s:
            own.is_late = own.since_s is None and self._is_over
            own.size = own.frames = 0
            own.since_s = self._since_s
        own.size += size
        own.frames += frames
        self._bytes += size
        self._frames += frames
        if not self._is_over:
            return True
        return not own.is_late and own.size < FLOOD_BYTES // _PART and own.frames < FLOOD_FRAMES // _PART

    @property
    def _is_over(self) -> bool:
        return self._bytes > FLOOD_BYTES or self._frames > FLOOD_FRAMES

    def is_idle(self, now_s: float) -> bool:
        """Whether nothing that it has counted matters any more."""
        return not self.calls and now_s - self._since_s > FLOOD_S


class Share:
    """What one connection has sent in the current window. A late one began after the flood."""

    __slots__ = ("frames", "is_late", "since_s", "size")

    def __init__(self) -> None:
        self.since_s: float | None = None
        self.size = self.frames = 0
        self.is_late = False
