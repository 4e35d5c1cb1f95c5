"""Decides which frames are used and when: a file's frame rate and a camera's cap. The caller passes the time.

Called by `source_reader`.
"""

from __future__ import annotations

import logging
import math
from enum import Enum
from typing import Protocol

from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)


class Verdict(Enum):
    """What happens to a grabbed frame."""

    TAKE = "take"
    SKIP = "skip"  # over the cap
    DROP = "drop"  # too late


class Gate(Protocol):
    """Decides on each grabbed frame."""

    def admit(self, now: float) -> tuple[Verdict, float]:
        """Returns the verdict and the seconds to wait before using the frame; `now` is monotonic seconds."""


class FilePace:
    """A fixed rate: frame n is due n intervals after the start, so that errors do not add up.

    Frames that are late by more than two intervals (at least 0.1 s) are dropped until the schedule is met again, so
    there is never a burst. If reading is slower than the rate, this would drop everything; after a second of drops
    the schedule therefore starts again, and the video plays slower.
    """

    def __init__(self, fps: float) -> None:
        self._interval_s = 1 / fps
        self._late_s = max(0.1, 2 * self._interval_s)
        self._max_drops = max(1, math.ceil(fps))
        self._start = 0.0
        self._number = -1
        self._drops = 0
        self._throttle = Throttle()

    def admit(self, now: float) -> tuple[Verdict, float]:
        """See `Gate`."""
        self._number += 1
        if self._number == 0:
            self._start = now
        ahead_s = self._start + self._number * self._interval_s - now
        if ahead_s >= -self._late_s:
            self._drops = 0
            return Verdict.TAKE, max(0.0, ahead_s)
        if self._drops < self._max_drops:
            self._drops += 1
            return Verdict.DROP, 0.0
        if self._throttle.allow("slow"):
            log.warning("cannot keep up with %.3g fps; playing slower", 1 / self._interval_s)
        self._drops = 0
        self._start = now
        self._number = 0
        return Verdict.TAKE, 0.0


class CameraCap:
    """A token bucket: at most `fps` frames a second, and at most two in a row when frames arrive unevenly."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._tokens = 2.0
        self._last: float | None = None

    def admit(self, now: float) -> tuple[Verdict, float]:
        """See `Gate`."""
        if self._last is not None:
            self._tokens = min(2.0, self._tokens + (now - self._last) * self._fps)
        self._last = now
        if self._tokens < 1.0:
            return Verdict.SKIP, 0.0
        self._tokens -= 1.0
        return Verdict.TAKE, 0.0
