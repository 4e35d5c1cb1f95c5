"""Shared by the sources that read through OpenCV: silences the libraries and converts arrays to frames.

Called by `file`, `usb` and `rtsp`. FFmpeg and OpenCV print URLs with passwords on standard error, so both are silenced
before the first capture; each source reports failures itself.
"""

from __future__ import annotations

import os
import time

import cv2
import numpy as np

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.domain.errors import SourceError

_AV_LOG_QUIET = "-8"


def silence() -> None:
    """Stops OpenCV and FFmpeg from printing. Call it before making a capture; repeated calls are harmless."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class CaptureSource:
    """A source over one `cv2.VideoCapture`. With `raw`, frames are the JPEGs that the device made."""

    def __init__(self, capture: cv2.VideoCapture, what: str, raw: bool = False) -> None:
        """`what` names the source in errors; it must hold no secret."""
        self._capture = capture
        self._what = what
        self._raw = raw
        self._ts = 0.0
        self._captured = 0.0

    def grab(self) -> None:
        """Blocks until the next frame arrives, at most until the capture's own time-out."""
        if not self._capture.grab():
            raise SourceError(f"{self._what} gives no more frames.")
        self._ts = time.time()
        self._captured = time.monotonic()

    def retrieve(self) -> CapturedFrame:
        """Returns the grabbed frame, decoded unless the source is raw."""
        return retrieve_frame(self._capture, self._what, self._ts, self._captured, self._raw)

    def interrupt(self) -> None:
        """Does nothing: a capture is not thread-safe. Its own time-out ends a blocked `grab`."""

    def close(self) -> None:
        """Releases the device or connection."""
        self._capture.release()


def retrieve_frame(
    capture: cv2.VideoCapture, what: str, ts: float, captured: float, raw: bool = False
) -> CapturedFrame:
    """Returns the frame that `capture` has grabbed, with the given times. Raises SourceError."""
    found, array = capture.retrieve()
    if not found or array is None:
        raise SourceError(f"{what} gave a frame that can't be decoded.")
    if raw:
        return CapturedFrame(ts, captured, jpeg=trim_jpeg(array.tobytes()))
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise SourceError(f"{what} gave a frame of shape {array.shape} and {array.dtype}, expected BGR with 8 bits.")
    return CapturedFrame(ts, captured, pixels=np.asarray(array, np.uint8))


def trim_jpeg(data: bytes) -> bytes:
    """Cuts `data` after its last end-of-image marker: USB cameras return whole buffers with padding at the end."""
    end = data.rfind(b"\xff\xd9")
    return data if end < 0 or end + 2 == len(data) else data[: end + 2]
