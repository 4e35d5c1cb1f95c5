"""Decides which frames are used and when: a file's frame rate and a camera's cap. The caller passes the time.

Called by `source_reader`.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import Protocol

from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)

_ROUNDING_S = 1e-6


class Verdict(Enum):
    """The decision on a grabbed frame."""

    TAKE = "take"
    SKIP = "skip"  # over the cap
    DROP = "drop"  # too late


class Gate(Protocol):
    """Decides on each grabbed frame."""

    def admit(self, now: float, media_s: float | None = None) -> tuple[Verdict, float]:
        """Returns the verdict and the seconds to wait before using the frame.

        `now` is monotonic seconds; `media_s` is the frame's media time, where the source has one.
        """

    def wants(self, ahead_s: float) -> bool:
        """Whether a frame that comes `ahead_s` seconds after the last one may be used."""


class FilePace:
    """A video's own times: a frame at media time t is due t seconds after the start, so that errors do not add up.

    Frames that are late by more than two intervals (at least 0.1 s) are dropped until the schedule is met again, so
    there is never a burst. If reading is slower than the video, this would drop everything. So after a second of drops
    the schedule starts again, and the video plays slower.
    """

    def __init__(self, fps: float, fixed: bool = False, what: str = "The video") -> None:
        """`fps` is the rate of frames without a media time; with `fixed`, of all frames. `what` names it in logs."""
        self._what = what
        self._interval_s = 1 / fps
        self._fixed = fixed
        self._start: float | None = None
        self._media_s = -self._interval_s
        self._dropping_since_s: float | None = None
        self._throttle = Throttle()

    def admit(self, now: float, media_s: float | None = None) -> tuple[Verdict, float]:
        """See `Gate`."""
        if media_s is None or self._fixed:
            media_s = self._media_s + self._interval_s
        interval_s = min(media_s - self._media_s, 1.0)
        self._media_s = media_s
        if self._start is None:
            self._start = now - media_s
        ahead_s = self._start + media_s - now
        if ahead_s >= -max(0.1, 2 * interval_s) - _ROUNDING_S:
            self._dropping_since_s = None
            return Verdict.TAKE, max(0.0, ahead_s)
        if self._dropping_since_s is None:
            self._dropping_since_s = media_s
        if media_s - self._dropping_since_s < 1.0:
            return Verdict.DROP, 0.0
        if self._throttle.allow("slow"):
            log.warning(
                "%s plays slower: this machine cannot keep up with %.3g fps", self._what, 1 / max(interval_s, 0.001)
            )
        self._dropping_since_s = None
        self._start = now - media_s
        return Verdict.TAKE, 0.0

    def wants(self, ahead_s: float) -> bool:
        """See `Gate`."""
        return True


class CameraCap:
    """A token bucket: at most `fps` frames a second, and at most two in a row when frames arrive unevenly."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._tokens = 2.0
        self._last: float | None = None

    def admit(self, now: float, media_s: float | None = None) -> tuple[Verdict, float]:
        """See `Gate`."""
        if self._last is not None:
            self._tokens = min(2.0, self._tokens + (now - self._last) * self._fps)
        self._last = now
        if self._tokens < 1.0:
            return Verdict.SKIP, 0.0
        self._tokens -= 1.0
        return Verdict.TAKE, 0.0

    def wants(self, ahead_s: float) -> bool:
        """See `Gate`."""
        return self._last is None or self._tokens + ahead_s * self._fps >= 1.0


class FileCap:
    """A file that is one camera of many: its own times, and at most `fps` frames a second."""

    def __init__(self, fps: float, what: str = "The video") -> None:
        self._cap = CameraCap(fps)
        self._what = what
        self._pace = FilePace(fps, what=what)
        self._media_s = 0.0

    def admit(self, now: float, media_s: float | None = None) -> tuple[Verdict, float]:
        """See `Gate`."""
        if media_s is not None:
            if media_s < self._media_s:  # the file was opened again
                self._pace = FilePace(1.0, what=self._what)
            self._media_s = media_s
        verdict, wait_s = self._pace.admit(now, media_s)
        # A late frame that exceeds the cap anyway does not count as a drop.
        if self._cap.admit(now + wait_s)[0] is Verdict.SKIP:
            return Verdict.SKIP, 0.0
        return verdict, wait_s

    def wants(self, ahead_s: float) -> bool:
        """See `Gate`."""
        return self._cap.wants(ahead_s)
