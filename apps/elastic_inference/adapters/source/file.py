"""A looped video file, read through OpenCV's FFmpeg.

Called by `produce.file_service`, which sets the pace: this module reads as fast as it is asked.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import cv2

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.opencv import retrieve_frame, silence
from elastic_inference.domain.errors import SourceFatalError

DEFAULT_FPS = 25.0
# Containers without a frame rate report 0, or their clock rate (1000 or 90000).
MAX_FPS = 240.0
# FFmpeg decodes any .txt file as ANSI art, which is never what the user meant.
_TEXT_CODECS = {b"ansi", b"xbin", b"binv"}


class FileSource:
    """A video file that starts again when it ends. `fps` is the file's frame rate, or 25 if it states none."""

    def __init__(self, path: Path) -> None:
        """Opens the file and reads its first frame. Raises SourceFatalError with the reason."""
        silence()
        self._path = path
        self._capture = self._open()
        self._first = self._capture.grab()
        if not self._first:
            self._capture.release()
            raise SourceFatalError(f"The video {path} ends at frame 0: expected at least one frame.")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0.1 <= fps <= MAX_FPS else DEFAULT_FPS

    def grab(self) -> None:
        """Reads the next frame, or the first one after the last. Raises SourceFatalError if there are none."""
        if self._first:
            self._first = False
            return
        if self._capture.grab():
            return
        # Seeking takes only a few milliseconds, so no gap is visible. Some containers cannot seek.
        if self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0) and self._capture.grab():
            return
        self._capture.release()
        self._capture = self._open()
        if not self._capture.grab():
            raise SourceFatalError(f"The video {self._path} ends at frame 0 after it was reopened.")

    def retrieve(self) -> CapturedFrame:
        """Returns the frame's pixels; its capture time is now."""
        return retrieve_frame(self._capture, f"The video {self._path}", time.time(), time.monotonic())

    def interrupt(self) -> None:
        """Does nothing: a file does not stall."""

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

    def _open(self) -> cv2.VideoCapture:
        path = self._path
        if not path.exists():
            raise SourceFatalError(f"The video {path} does not exist: expected a video file.")
        if not path.is_file():
            raise SourceFatalError(f"{path} is not a file: expected a video file.")
        if not os.access(path, os.R_OK):
            raise SourceFatalError(f"The video {path} can't be read: permission denied.")
        # An absolute path, so that FFmpeg does not read `concat:…` or `http:…` as a URL.
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        codec = (int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little").lower()
        if not capture.isOpened() or codec in _TEXT_CODECS:
            capture.release()
            raise SourceFatalError(f"{path} is not a video that OpenCV can read.")
        return capture
