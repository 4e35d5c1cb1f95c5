"""A looped video file, read through FFmpeg (PyAV).

Called by `produce.file_service`, which sets the pace: this module reads as fast as it is asked.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import av

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.codec_names import matroska_codec
from elastic_inference.adapters.source.container import DEFAULT_FPS, Container
from elastic_inference.adapters.source.input_errors import CONVERT_FILE
from elastic_inference.adapters.source.media_clock import MediaClock
from elastic_inference.adapters.source.source_facts import SourceFacts
from elastic_inference.domain.errors import SourceFatalError
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_PIXELS

log = logging.getLogger(__name__)
# A file's tracks are described within this many bytes.
_BEGIN_BYTES = 1 << 20
# What these refer to is never opened.
_LISTS = frozenset({".sdp", ".m3u", ".m3u8", ".mpd", ".pls", ".xspf", ".ffconcat"})


class FileSource:
    """A video file that starts again when it ends. `fps` is the file's mean frame rate, or 25 if it states none."""

    def __init__(
        self,
        path: Path,
        decode_device: str = "none",
        max_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
        find: Callable[[], Path] | None = None,
    ) -> None:
        """Opens the file and reads its first frame. Raises SourceFatalError with the reason.

        `find` is asked for the path each time that the file is opened, since it may have become a link.
        """
        self._path = path
        self._find = find or (lambda: path)
        self._decode_device = decode_device
        self._max_pixels = max_pixels
        self._rest: tuple[bool, Callable[[float | None], None]] | None = None
        self._thin: tuple[Callable[[float], bool], Callable[[], None]] | None = None
        self._what = f"The video {path}"
        self._container = self._open()
        self._next = self._container.read(_ignore)
        if self._next is None:
            self._container.close()
            raise SourceFatalError(
                f"{self._what} ({self._container.codec}) ends at frame 0: it holds no frame, or none that can be "
                f"decoded here, as animated WebP; {CONVERT_FILE}"
            )
        self.fps = self._container.fps or DEFAULT_FPS
        self._clock = MediaClock(1 / self.fps)
        if self._container.time_s(self._next) is None:
            log.warning("%s has no time stamps: playing at %.3g fps", self._what, self.fps)
        self._current: av.VideoFrame | bytes = self._next

    def grab(self, on_data: Callable[[], None]) -> float | None:
        """Reads the next frame, or the first one after the last. Raises SourceFatalError if there are none."""
        frame, self._next = self._next, None
        if frame is None:
            frame = self._container.read(on_data)
        if frame is None:
            # Reopen instead of seeking: MPEG-TS and MPEG-PS seek to some later key frame only.
            self._container.close()
            self._container = self._open()
            if self._rest is not None:
                self.rest(*self._rest)
            if self._thin is not None:
                self.thin(*self._thin)
            self._clock.restart()
            frame = self._container.read(on_data)
            if frame is None:
                raise SourceFatalError(f"{self._what} ends at frame 0 after it was reopened.")
        self._current = frame
        return self._clock.tick(self._container.time_s(frame))

    def retrieve(self) -> CapturedFrame:
        """Returns the frame; its capture time is now. Call it once."""
        frame, self._current = self._current, b""
        return CapturedFrame.of(frame, time.time(), time.monotonic(), self._container.turn)

    def rest(self, quiet: bool, on_skip: Callable[[float | None], None]) -> None:
        """See `Source`."""
        self._rest = quiet, on_skip
        # Their own time stamps are not in the order of the images.
        self._container.rest(quiet, lambda: on_skip(self._clock.tick(None)))

    def thin(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        """See `Source`."""
        self._thin = wants, on_skip
        self._container.thin(wants, on_skip)

    def facts(self) -> SourceFacts:
        """See `Source`."""
        return self._container.facts()

    def interrupt(self) -> None:
        """Does nothing: a file does not stall."""

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def _open(self) -> Container:
        path = self._path = self._find()
        if not path.exists():
            hint = "; images in a row are no video: make one of them" if "%" in path.name else ""
            raise SourceFatalError(f"{self._what} does not exist: expected a video file{hint}.")
        if not path.is_file():
            raise SourceFatalError(f"{path} is not a file: expected a video file.")
        if not os.access(path, os.R_OK):
            raise SourceFatalError(f"{self._what} can't be read: permission denied.")
        if path.stat().st_size == 0:
            raise SourceFatalError(f"{self._what} is empty: expected a video file.")
        if path.suffix.lower() in _LISTS:
            raise SourceFatalError(
                f"{self._what} only names other sources: give the address or the file of one of them."
            )
        # `file:` and an absolute path, so that FFmpeg does not read `concat:…` or `http:…` as a URL; nothing that the
        # file refers to (a playlist's entries) is opened.
        return Container(
            f"file:{path.resolve()}",
            self._what,
            options={"protocol_whitelist": "file"},
            fatal=True,
            decode_device=self._decode_device,
            name_codec=self._named_codec,
            max_pixels=self._max_pixels,
        )

    def _named_codec(self) -> str | None:
        with self._path.open("rb") as file:
            return matroska_codec(file.read(_BEGIN_BYTES))


def _ignore() -> None:
    """Ignores the data."""
