"""A stream's own clock, made of the capture times of its frames; it never goes back. Pure.

Redis' clock can jump when its host changes or the clock is set. A jump must not end a visit twice or never.
"""

from __future__ import annotations

import math
from typing import Any

# Capture times of frames in order may go back a little; a larger step means that a clock was set back.
_BACK_MS = 2000.0
# A longer gap has ended every track anyway.
_MAX_STEP_S = 60.0
# Without a result for this many seconds, open events end. This does not apply while a worker reads old results.
SILENCE_S = 10.0
_QUIET_S = 3.0


class StreamClock:
    """`now_s`: seconds since the stream's first frame; `at_ms`: the same moment by Redis' clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.at_ms = 0.0
        self._started = False
        self._quiet_since_ms: float | None = None

    def advance(self, at_ms: float) -> float:
        """Takes a frame's time; returns the seconds since the last frame."""
        self._quiet_since_ms = None
        if not math.isfinite(at_ms):
            return 0.0
        if not self._started:
            self._started, self.at_ms = True, at_ms
            return 0.0
        step_s = (at_ms - self.at_ms) / 1000.0
        if step_s <= 0:
            if step_s * 1000.0 < -_BACK_MS:
                self.at_ms = at_ms
            return 0.0
        self.at_ms = at_ms
        step_s = min(step_s, _MAX_STEP_S)
        self.now_s += step_s
        return step_s

    def is_silent(self, now_ms: float) -> bool:
        """Whether no result came for `SILENCE_S`. Call it about once a second."""
        if not self._started:
            return False
        if self._quiet_since_ms is None or now_ms < self._quiet_since_ms:
            self._quiet_since_ms = now_ms
        quiet_s = (now_ms - self._quiet_since_ms) / 1000.0
        return quiet_s >= SILENCE_S or (quiet_s >= _QUIET_S and now_ms - self.at_ms >= SILENCE_S * 1000.0)

    def pack(self) -> list[Any]:
        """Everything, for `unpack`."""
        return [self.now_s, self.at_ms, self._started]

    @classmethod
    def unpack(cls, packed: list[Any]) -> StreamClock:
        """The clock of `pack`'s list."""
        now_s, at_ms, started = packed
        clock = cls()
        clock.now_s, clock.at_ms, clock._started = float(now_s), float(at_ms), bool(started)
        return clock
