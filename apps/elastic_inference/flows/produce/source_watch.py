"""Tracks a source's state (live, stalled, reconnecting), its frame rate and how often it was reopened.

The reader and the producer's loop update it; it reports to the queue and Prometheus. Works for any source.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ProducerMetrics

log = logging.getLogger(__name__)

# Waiting for a key frame: no frame for this long, but this many packets. A decoder that reorders holds back fewer.
WAITING_AFTER_S = 1.5
WAITING_PACKETS = 8


class SourceState(StrEnum):
    """Field `state` of the queue's `source` hash."""

    LIVE = "live"
    QUIET = "quiet"  # live, and the gate passes one frame per second
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    # Packets arrive, but none can be decoded until the next key frame.
    WAITING = "waiting_for_key_frame"


@dataclass(frozen=True, slots=True)
class SourceReport:
    """A source's state at one moment; `fps` is the recent rate of the frames that the cap allows."""

    state: SourceState
    fps: float
    reconnects: int


class SourceWatch:
    """The state of one source. Thread-safe. The caller passes all times, in monotonic seconds."""

    def __init__(self, what: str, stall_s: float, metrics: ProducerMetrics, window_s: float = 5.0) -> None:
        """`what` describes the source in logs, without secrets; `stall_s` without any data is a stall."""
        self._what = what
        self._stall_s = stall_s
        self._metrics = metrics
        self._window_s = window_s
        self._lock = threading.Lock()
        self._state = SourceState.RECONNECTING
        # Set by the thread that encodes.
        self.quiet = False
        self._open = False
        self._opened_once = False
        self._read_hangs = False  # `check` has noticed a stall, and the read has not failed yet
        self._last = 0.0  # when data last arrived
        self._last_frame = 0.0
        self._packets = 0  # since the last frame
        self._frames: deque[float] = deque()
        self._reconnects = 0
        self._throttle = Throttle()
        # Reasons contain the camera's own words.
        self._reasons = Throttle()

    def opened(self, now: float) -> None:
        """Records that the source was opened; its first frame may take `stall_s`."""
        with self._lock:
            if self._opened_once:
                self._reconnects += 1
                self._metrics.source_reconnects.inc()
            self._opened_once = True
            self._open = True
            self._last = self._last_frame = now
            self._packets = 0

    def data(self, now: float) -> None:
        """Records a packet, even if it completes no frame."""
        with self._lock:
            self._last = now
            self._packets += 1
            if self._packets < WAITING_PACKETS or now - self._last_frame < WAITING_AFTER_S:
                return
            if self._state is SourceState.WAITING:
                return
            self._state = SourceState.WAITING
            self._frames.clear()
        if self._throttle.allow("waiting"):
            log.info("%s sends video; waiting for its next key frame", self._what)

    def frame(self, now: float, wanted: bool = True) -> None:
        """Records a frame; only `wanted` frames count towards the rate."""
        with self._lock:
            self._last = self._last_frame = now
            self._packets = 0
            # After a stall that `check` noticed, the read has continued after all.
            self._open, self._read_hangs = True, False
            if wanted:
                self._frames.append(now)
            if self._state is SourceState.LIVE:
                return
            self._state = SourceState.LIVE
        log.info("%s is live", self._what)

    def check(self, now: float) -> bool:
        """Returns True once when the open source stalls."""
        with self._lock:
            silent_s = now - self._last
            if not self._open or silent_s < self._stall_s:
                return False
            self._stall()
            self._read_hangs = True
        log.warning("%s has stalled: no data for %.1f s; reopening it", self._what, silent_s)
        return True

    def failed(self, now: float, why: str, waited_s: float = 0.0) -> None:
        """Records that opening or reading has failed; `why` is a sentence without secrets.

        A silence as long as `stall_s` counts as a stall, and so does a read that waited long before it failed
        (`waited_s`), since the frames just before it may have been old. A stalled source stays stalled until its next
        frame, or until it can't be opened.
        """
        with self._lock:
            if self._open and (now - self._last >= 0.9 * self._stall_s or waited_s >= 0.45 * self._stall_s):
                self._stall()
            elif not self._read_hangs:
                self._state = SourceState.RECONNECTING
            self._open = False
            self._read_hangs = False
        if note := self._reasons.note(why):
            log.warning("%s Retrying. %s", why, note)

    def report(self, now: float) -> SourceReport:
        """Returns the state, and reports it to Prometheus."""
        with self._lock:
            # Two are kept: a slow camera has fewer than two in the window.
            while len(self._frames) > 2 and now - self._frames[0] > self._window_s:
                self._frames.popleft()
            fps = 0.0
            if len(self._frames) > 1:
                # Count intervals, not frames: exact from the second frame on. If the next one is late, the rate falls.
                last = self._frames[-1]
                fps = (len(self._frames) - 1) / max(last - self._frames[0], now - last, 1e-6)
            if self._state is not SourceState.LIVE:
                fps = 0.0
            live = self._state is SourceState.LIVE
            state = SourceState.QUIET if live and self.quiet else self._state
            report = SourceReport(state, fps, self._reconnects)
        self._metrics.source_fps.set(report.fps)
        self._metrics.source_up.set(live)
        return report

    def _stall(self) -> None:
        self._open = False
        self._frames.clear()
        if self._state is not SourceState.STALLED:
            self._state = SourceState.STALLED
            self._metrics.source_stalls.inc()
