"""Frames of a live container, each with the moment at which it arrived.

Called by `network`, `http_stream` and `usb`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import av

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.container import DEFAULT_FPS, Container
from elastic_inference.adapters.source.live_pace import LivePace
from elastic_inference.adapters.source.media_clock import MediaClock
from elastic_inference.domain.errors import SourceError


class LiveFrames:
    """`grab` and `retrieve` of a source that reads one container. Not thread-safe."""

    def __init__(self, container: Container, ended: str, *, may_be_recorded: bool = False) -> None:
        """`ended` is the error at the end of the stream, in a sentence.

        `may_be_recorded`: the server may send a file as fast as it can, which is then read at its own speed.
        """
        self._container = container
        self._ended = ended
        self._clock = MediaClock(1 / (container.fps or DEFAULT_FPS))
        self._pace = LivePace() if may_be_recorded else None
        self._frame: av.VideoFrame | bytes = b""
        self._ts = self._captured = 0.0

    def grab(self, on_data: Callable[[], None]) -> float:
        """Blocks until the next frame arrives; returns its media time, seconds. Raises SourceError, also at the end."""
        frame = self._container.read(on_data)
        if frame is None:
            raise SourceError(self._ended)
        self._frame = frame
        media_s = self._clock.tick(self._container.time_s(frame))
        if self._pace is not None and (pause_s := self._pace.pause_s(media_s, time.monotonic())):
            time.sleep(pause_s)
        self._ts, self._captured = time.time(), time.monotonic()
        return media_s

    def rest(self, quiet: bool, on_skip: Callable[[float | None], None]) -> None:
        """See `Source`."""
        self._container.rest(quiet, lambda: on_skip(None))

    def retrieve(self) -> CapturedFrame:
        """The frame that `grab` read: a JPEG as the camera made it, or a decoded image. Call it once."""
        frame, self._frame = self._frame, b""
        return CapturedFrame.of(frame, self._ts, self._captured, self._container.turn)


class LiveContainer:
    """What sources that read one container have in common: how a frame is taken, and how decoding is spared."""

    _container: Container
    _frames: LiveFrames

    def retrieve(self) -> CapturedFrame:
        """Returns the frame: a JPEG as the camera made it, or a decoded image."""
        return self._frames.retrieve()

    def rest(self, quiet: bool, on_skip: Callable[[float | None], None]) -> None:
        """See `Source`."""
        self._frames.rest(quiet, on_skip)

    def thin(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        """See `Source`."""
        self._container.thin(wants, on_skip)
