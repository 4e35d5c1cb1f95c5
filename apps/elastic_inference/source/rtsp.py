"""A network camera that speaks RTSP, through OpenCV's FFmpeg, over TCP.

Called by `camera`.
"""

from __future__ import annotations

import os

import cv2

from elastic_inference.config import hide_password
from elastic_inference.errors import SourceError
from elastic_inference.source.opencv import CaptureSource, silence

# TCP: pictures arrive whole. No reordering or probing for longer than a second: pictures come as they are made.
_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|max_delay;500000|analyzeduration;1000000"


def open_rtsp(url: str, stall_s: float) -> CaptureSource:
    """Opens the camera. Opening and each read give up after `stall_s`. Raises SourceError without the password."""
    silence()
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _OPTIONS)
    timeout_ms = max(1, round(stall_s * 1000))
    capture = cv2.VideoCapture(
        url,
        cv2.CAP_FFMPEG,
        [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms],
    )
    shown = hide_password(url)
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"The camera {shown} can't be opened: not reachable, no such stream, or user and password are refused."
        )
    return CaptureSource(capture, f"The camera {shown}")
