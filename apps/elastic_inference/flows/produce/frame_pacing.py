"""Which frames go on, and when: the pace of a file and the cap of a camera. Times are handed in.

Called by the source's reader.
"""

from __future__ import annotations

import logging
import math
from enum import Enum
from typing import Protocol

from elastic_inference.base.log import Throttle

log = logging.getLogger("ei.source")


class Verdict(Enum):
    """What becomes of a grabbed frame."""

    TAKE = "take"
    SKIP = "skip"  # not wanted: over the cap
    DROP = "drop"  # wanted, but too late


class Gate(Protocol):
    """Decides about each grabbed frame."""

    def admit(self, now: float) -> tuple[Verdict, float]:
        """The verdict, and how many seconds to wait before the frame is taken; `now` is monotonic, seconds."""


class FilePace:
    """Frames at a fixed rate, each due at the start plus its number over the rate, so that nothing drifts.

    A frame that is late by more than a tenth of a second and two intervals is dropped, and the next ones until the
    schedule is met again: never a burst. Where reading alone is slower than the rate, that would drop everything, so
    after a second of dropped frames the schedule starts anew: the film then runs slower, and `restarts` counts it.
    """

    def __init__(self, fps: float) -> None:
        self._interval_s = 1 / fps
        self._late_s = max(0.1, 2 * self._interval_s)
        self._most_drops = max(1, math.ceil(fps))
        self._start = 0.0
        self._number = -1
        self._drops = 0
        self.restarts = 0
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
        if self._drops < self._most_drops:
            self._drops += 1
            return Verdict.DROP, 0.0
        self.restarts += 1
        if self._throttle.allow("slow"):
            log.warning("the video can't be read at %.3g frames a second here: it runs slower", 1 / self._interval_s)
        self._drops = 0
        self._start = now
        self._number = 0
        return Verdict.TAKE, 0.0


class CameraCap:
    """At most `fps` frames a second, two in a row at most where a camera's frames come unevenly (token bucket)."""

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
