"""An RTSP camera over TCP, read through OpenCV's FFmpeg.

Called by `camera`.
"""

from __future__ import annotations

import os

import cv2

from elastic_inference.adapters.source.opencv import CaptureSource, silence
from elastic_inference.base.settings.producer import CameraSettings
from elastic_inference.base.url import hide_password
from elastic_inference.domain.errors import SourceError

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# TCP delivers whole frames. Reordering and probing are limited to a second, so that frames are not delayed.
_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay|max_delay;500000|analyzeduration;1000000"


def open_source(settings: CameraSettings) -> CaptureSource:
    """Opens the camera of the settings. Raises SourceError."""
    return open_rtsp(settings.camera, settings.source_stall_s)


def open_rtsp(url: str, stall_s: float) -> CaptureSource:
    """Opens the camera; a `grab` times out after 1 to 1.5 times `stall_s`. Raises SourceError without the password.

    OPENCV_FFMPEG_CAPTURE_OPTIONS (`name;value|name;value`) replaces our FFmpeg options.
    """
    silence()
    timeout_ms = max(1, round(stall_s * 1000))
    options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    # FFmpeg delays its output by one frame for each further decoding thread.
    options += [cv2.CAP_PROP_N_THREADS, 1]
    given = os.environ.get(_VARIABLE)
    # OpenCV tries a read up to three times, so half the time-out each ends a blocked read after 1 to 1.5 `stall_s`.
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
            f"The camera {shown} can't be opened: it is unreachable, has no such stream, "
            "or refuses the user name or password."
        )
    return CaptureSource(capture, f"The camera {shown}")
