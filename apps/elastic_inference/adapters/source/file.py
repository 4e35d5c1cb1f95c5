"""A video file through OpenCV's FFmpeg, looped.

Called by `produce.file_service`. It reads as fast as it is asked: the pace is the caller's.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import cv2

from elastic_inference.adapters.source.opencv import retrieve_picture, silence
from elastic_inference.adapters.source.picture import Picture
from elastic_inference.domain.errors import SourceFatalError

DEFAULT_FPS = 25.0
# Containers without a frame rate report nonsense, such as 90000 or 1000 (their clock) or 0.
MAX_FPS = 240.0
# FFmpeg "decodes" any .txt file as ANSI art: a picture of text is never what was meant.
_TEXT_CODECS = {b"ansi", b"xbin", b"binv"}


class FileSource:
    """A video file that starts over at its end. `fps` is the file's frame rate, 25 where it tells none."""

    def __init__(self, path: Path) -> None:
        """Opens the file and reads its first frame. Raises SourceFatalError, which says what is wrong with it."""
        silence()
        self._path = path
        self._capture = self._open()
        self._first = self._capture.grab()
        if not self._first:
            self._capture.release()
            raise SourceFatalError(f"The video {path} ends at frame 0: expected at least one frame.")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0.1 <= fps <= MAX_FPS else DEFAULT_FPS
        self.loops = 0

    def grab(self) -> None:
        """Reads the next frame, the first one again after the last. Raises SourceFatalError when none is left."""
        if self._first:
            self._first = False
            return
        if self._capture.grab():
            return
        self.loops += 1
        # Seeking takes a few milliseconds, so that no gap shows; not every container can.
        if self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0) and self._capture.grab():
            return
        self._capture.release()
        self._capture = self._open()
        if not self._capture.grab():
            raise SourceFatalError(f"The video {self._path} ends at frame 0 since it was opened again.")

    def retrieve(self) -> Picture:
        """The frame's pixels; its time of capture is now."""
        return retrieve_picture(self._capture, f"The video {self._path}", time.time(), time.monotonic())

    def interrupt(self) -> None:
        """Nothing: a file does not stall."""

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()

    def _open(self) -> cv2.VideoCapture:
        path = self._path
        if not path.exists():
            raise SourceFatalError(f"The video {path} does not exist: expected a video file.")
        if not path.is_file():
            raise SourceFatalError(f"{path} is no file: expected a video file.")
        if not os.access(path, os.R_OK):
            raise SourceFatalError(f"The video {path} can't be read: its permissions forbid it.")
        # The whole path, so that FFmpeg can't take `concat:…` or `http:…` for an address.
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        codec = (int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, "little").lower()
        if not capture.isOpened() or codec in _TEXT_CODECS:
            capture.release()
            raise SourceFatalError(f"{path} is no video that OpenCV can read.")
        return capture
