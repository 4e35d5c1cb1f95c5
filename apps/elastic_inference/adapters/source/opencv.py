"""What every source that reads through OpenCV shares: quiet libraries, and pictures made of its arrays.

Called by `file`, `usb` and `rtsp`. FFmpeg and OpenCV print addresses, passwords included, on standard error: both
are silenced before the first capture, and each source says in words of its own what failed.
"""

from __future__ import annotations

import os
import time

import cv2
import numpy as np

from elastic_inference.adapters.source.picture import Picture
from elastic_inference.domain.errors import SourceError

_AV_LOG_QUIET = "-8"


def silence() -> None:
    """Keeps OpenCV and FFmpeg from printing. Call it before a capture is made; again does no harm."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class CaptureSource:
    """A source over one `cv2.VideoCapture`. `raw` says that its pictures are JPEGs as the device made them."""

    def __init__(self, capture: cv2.VideoCapture, what: str, raw: bool = False) -> None:
        """`what` names the source in errors: no secret in it."""
        self._capture = capture
        self._what = what
        self._raw = raw
        self._ts = 0.0
        self._captured = 0.0

    def grab(self) -> None:
        """Blocks until the next picture is there, at most as long as the capture's own time-out."""
        if not self._capture.grab():
            raise SourceError(f"{self._what} gives no more pictures.")
        self._ts = time.time()
        self._captured = time.monotonic()

    def retrieve(self) -> Picture:
        """The grabbed picture, decoded unless the source is raw."""
        return retrieve_picture(self._capture, self._what, self._ts, self._captured, self._raw)

    def interrupt(self) -> None:
        """Nothing: a capture can't be touched from another thread; its own time-out ends a blocked `grab`."""

    def close(self) -> None:
        """Frees the device or the connection."""
        self._capture.release()


def retrieve_picture(capture: cv2.VideoCapture, what: str, ts: float, captured: float, raw: bool = False) -> Picture:
    """The picture that `capture` has grabbed, with the given times. Raises SourceError."""
    found, array = capture.retrieve()
    if not found or array is None:
        raise SourceError(f"{what} gave a picture that can't be decoded.")
    if raw:
        return Picture(ts, captured, jpeg=trim_jpeg(array.tobytes()))
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise SourceError(f"{what} gave a picture of shape {array.shape} and {array.dtype}, expected BGR with 8 bits.")
    return Picture(ts, captured, pixels=np.asarray(array, np.uint8))


def trim_jpeg(data: bytes) -> bytes:
    """`data` up to its last end-of-image marker: USB cameras hand out whole buffers, padded after the picture."""
    end = data.rfind(b"\xff\xd9")
    return data if end < 0 or end + 2 == len(data) else data[: end + 2]
