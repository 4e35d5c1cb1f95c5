"""Slows the reading of a source that sends faster than real time: a recording that a file server or playlist serves.

Called by `live_frames`. Pure; the caller passes the time. Reading as fast as the network would take a core from the
other cameras, and show the video at many times its speed.
"""

from __future__ import annotations

# Servers send what they have kept since the last key frame at once.
_BURST_S = 5.0
_AT_START_S = 10.0
# After a pause of the network, so much may come at once.
_BACKLOG_S = 60.0
# Time stamps of cameras may run too fast, as if they sent fewer frames: that is no recording.
_NO_CAMERA = 3.0
# A longer step of the time stamps is that of a camera whose clock was set, or a playlist's next part.
_LONGEST_STEP_S = 5.0
# What is known to be a recording.
_SPEED = 1.1
_LONGEST_PAUSE_S = 0.25


class LivePace:
    """How far the media time runs ahead of the clock: a bucket that leaks faster than real time."""

    def __init__(self) -> None:
        self._lead_s = -_AT_START_S
        self._speed = _NO_CAMERA
        self._media_s: float | None = None
        self._now = 0.0

    def pause_s(self, media_s: float, now: float) -> float:
        """How long to wait before the frame of this media time is used; 0 for a source that sends in real time."""
        if self._media_s is not None:
            step_s = min(media_s - self._media_s, _LONGEST_STEP_S)
            lead_s = self._lead_s + step_s - self._speed * (now - self._now)
            self._lead_s = max(lead_s, -_BACKLOG_S)
        self._media_s, self._now = media_s, now
        if self._lead_s > _BURST_S:
            self._speed = _SPEED
        return min(max(0.0, self._lead_s - _BURST_S), _LONGEST_PAUSE_S)
