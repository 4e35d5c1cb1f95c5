"""Turns a stream's time stamps into one continuous media time. Pure: numbers in, seconds out.

Called by the sources. Time stamps start anywhere, may be missing, may jump where files were joined or a counter wraps,
and start again with each loop of a file.
"""

from __future__ import annotations

# A longer step forward is a jump between joined recordings, not a pause in one (a still screen recording may pause).
MAX_STEP_S = 600.0


class MediaClock:
    """Media times in seconds that never go back. The first frame is at 0."""

    def __init__(self, interval_s: float) -> None:
        """`interval_s` is the stream's mean frame interval, used where time stamps are missing or jump."""
        self._interval_s = interval_s
        self._offset_s = 0.0
        self._last_stamp_s: float | None = None
        self._now_s: float | None = None
        self._step_s = interval_s

    def tick(self, stamp_s: float | None) -> float:
        """The media time of the next frame, whose own time stamp is `stamp_s` (None: it has none)."""
        previous_s = self._now_s
        if stamp_s is None:
            self._now_s = 0.0 if previous_s is None else previous_s + self._interval_s
            self._last_stamp_s = None
            return self._now_s
        if previous_s is None:
            self._offset_s = -stamp_s
        elif self._last_stamp_s is None or not 0 <= stamp_s - self._last_stamp_s <= MAX_STEP_S:
            # The next loop, a jump, or the first time stamp after missing ones: advance by one frame.
            self._offset_s = previous_s + self._step_s - stamp_s
        else:
            self._step_s = max(stamp_s - self._last_stamp_s, 0.001)
        self._last_stamp_s = stamp_s
        self._now_s = stamp_s + self._offset_s
        return self._now_s

    def restart(self) -> None:
        """Call before the first frame of the next loop."""
        self._last_stamp_s = None
        # The last step of a video may be a long pause; the next loop starts after a normal interval.
        self._step_s = self._interval_s
