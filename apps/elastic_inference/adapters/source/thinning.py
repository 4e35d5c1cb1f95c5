"""Saves decoding where a source has more frames than are used: frames to which no other refers are not decoded.

Called by `container`. Independent of FFmpeg.
"""

from __future__ import annotations

from collections.abc import Callable

# A longer step is a jump of the time stamps.
_MAX_AHEAD_S = 2.0
# Decoders reorder 16 frames at most.
_MAX_PENDING = 64


class Thinning:
    """One stream's packets, by their presentation times in seconds. Belongs to the thread that reads."""

    def __init__(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        """`wants` says whether a frame that many seconds after the last one is used. `on_skip` is called per frame."""
        self._wants = wants
        self._on_skip = on_skip
        self._last_s: float | None = None
        self._pending: list[float] = []  # the packets that the decoder was allowed to skip

    def may_skip(self, time_s: float) -> bool:
        """Whether the decoder may skip the next packet's frame, if no other frame refers to it."""
        if self._last_s is None:
            return False
        ahead_s = time_s - self._last_s
        if not 0 < ahead_s <= _MAX_AHEAD_S or self._wants(ahead_s):
            return False
        if len(self._pending) >= _MAX_PENDING:
            self._pending.clear()
        self._pending.append(time_s)
        return True

    def came(self, time_s: float | None) -> None:
        """Takes the next frame that the decoder returns. Those that should have come before it were skipped."""
        self._last_s = time_s
        if time_s is None or not self._pending:
            return
        skipped = sum(each < time_s for each in self._pending)
        self._pending = [each for each in self._pending if each > time_s]
        for _ in range(skipped):
            self._on_skip()

    def ended(self) -> None:
        """The stream has ended: what has not come was skipped."""
        while self._pending:
            self._pending.pop()
            self._on_skip()
