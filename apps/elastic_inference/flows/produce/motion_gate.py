"""The motion gate of one stream: while nothing moves, only one frame per second is inferred.

Called by `stream`, in the thread that encodes. The caller passes the time.
"""

from __future__ import annotations

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.motion import MotionDetector

# Frames still pass for this long after the last motion; then one frame passes per interval.
HOLD_S, EVERY_S = 2.0, 1.0
# Tolerance for frames that do not arrive exactly on time.
_NEARLY_S = 0.95 * EVERY_S
# Frames further apart can't be compared with each other, only with the background.
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
        """Records a frame that was not even decoded. Any thread may call it."""
        self._skipped = True

    def admit(self, frame: CapturedFrame, now: float, *, watched: bool) -> bool:
        """Whether the frame passes. Raises InvalidFrameError for an image that can't be read."""
        if watched:
            # No motion detection now; it starts later with a new background.
            self._detector.reset()
            self._moved_at, self.quiet = now, False
            self._passed_at = self._seen_at = now
            return True
        # Also after a rest: the packet sizes have already shown that something may move.
        alone = self._skipped or now - self._seen_at > _ALONE_S
        self._seen_at, self._skipped = now, False
        if self._detector.moves(frame, now, alone=alone) or self._moved_at is None:
            self._moved_at = now
        self.quiet = now - self._moved_at >= HOLD_S
        if self.quiet and now - self._passed_at < _NEARLY_S:
            return False
        self._passed_at = now
        return True
