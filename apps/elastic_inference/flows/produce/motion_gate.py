"""The gate of one stream: frames in which nothing moves are not inferred, but one a second.

Called by `stream`, in the thread that encodes. The caller passes the time.
"""

from __future__ import annotations

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.motion import MotionDetector

# Frames still pass for so long after the last motion; from then on one passes in each interval.
HOLD_S, EVERY_S = 2.0, 1.0
# Frames do not come to the millisecond.
_NEARLY_S = 0.95 * EVERY_S
# Frames that are further apart can't be compared with each other, only with the background.
_ALONE_S = 0.5


class MotionGate:
    """Feed it every frame that could be inferred. `quiet`: nothing moves, and nobody watches."""

    def __init__(self) -> None:
        self._detector = MotionDetector()
        self._moved_at: float | None = None
        self._passed_at = self._seen_at = float("-inf")
        self._skipped = False
        self.quiet = False

    def skip(self) -> None:
        """A frame was not even decoded. Any thread may call it."""
        self._skipped = True

    def admit(self, frame: CapturedFrame, now: float, *, watched: bool) -> bool:
        """Whether the frame passes. Raises InvalidFrameError for an image that can't be read."""
        if watched:
            # Nothing is looked for: afterwards the background starts again.
            self._detector.reset()
            self._moved_at, self.quiet = now, False
            self._passed_at = self._seen_at = now
            return True
        # After a rest, too: the sizes of the packets say already that something may move.
        alone = self._skipped or now - self._seen_at > _ALONE_S
        self._seen_at, self._skipped = now, False
        if self._detector.moves(frame, now, alone=alone) or self._moved_at is None:
            self._moved_at = now
        self.quiet = now - self._moved_at >= HOLD_S
        if self.quiet and now - self._passed_at < _NEARLY_S:
            return False
        self._passed_at = now
        return True
