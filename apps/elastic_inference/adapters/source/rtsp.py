"""A network camera that speaks RTSP, through OpenCV's FFmpeg, over TCP.

Called by `camera`.
"""

from __future__ import annotations

import os

import cv2

from elastic_inference.adapters.source.opencv import CaptureSource, silence
from elastic_inference.base.config import hide_password
from elastic_inference.domain.errors import SourceError

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# TCP: pictures arrive whole. No reordering or probing for longer than a second: pictures come as they are made.
_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|max_delay;500000|analyzeduration;1000000"


def open_rtsp(url: str, stall_s: float) -> CaptureSource:
    """Opens the camera; a `grab` gives up after 1 to 1.5 times `stall_s`. Raises SourceError without the password.

    FFmpeg's own options can be given in OPENCV_FFMPEG_CAPTURE_OPTIONS (`name;value|name;value`) and replace ours.
    """
    silence()
    timeout_ms = max(1, round(stall_s * 1000))
    options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    # With more, FFmpeg decodes as many frames at once and hands each out that many frames late.
    options += [cv2.CAP_PROP_N_THREADS, 1]
    given = os.environ.get(_VARIABLE)
    # A read is tried up to three times: half the time each makes a hanging one end after 1 to 1.5 times `stall_s`.
    os.environ[_VARIABLE] = given if given is not None else f"{_OPTIONS}|timeout;{timeout_ms * 500}"
    try:
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, options)
    finally:
        if given is None:
            del os.environ[_VARIABLE]
    shown = hide_password(url)
    if not capture.isOpened():
        capture.release()
        raise SourceError(
            f"The camera {shown} can't be opened: not reachable, no such stream, or user and password are refused."
        )
    return CaptureSource(capture, f"The camera {shown}")
