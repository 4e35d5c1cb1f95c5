"""HTTP cameras: MJPEG, still images that are polled, and any container that FFmpeg reads (FLV, MPEG-TS).

Called by `camera`. MJPEG and still images pass through undecoded.
"""

from __future__ import annotations

import http.client
import io
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import IO, cast
from urllib.parse import urlsplit

from elastic_inference.adapters.source import network
from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.adapters.source.codec_names import matroska_codec
from elastic_inference.adapters.source.container import Container
from elastic_inference.adapters.source.http_client import Answer, HttpCamera
from elastic_inference.adapters.source.jpeg_stream import JpegStream, whole_jpeg
from elastic_inference.adapters.source.live_frames import LiveContainer, LiveFrames
from elastic_inference.adapters.source.source_facts import POLLED, SourceFacts
from elastic_inference.adapters.source.unfinished import Unfinished
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.log import Throttle
from elastic_inference.base.settings.producer import CameraSettings
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason, SourceError
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_PIXELS

log = logging.getLogger(__name__)
_READ_BYTES = 65536
# How long FFmpeg may read until it knows what a camera sends.
OPEN_S = 20.0
_STILL = ("image/jpeg", "image/jpg", "image/pjpeg")
_MJPEG = ("video/x-motion-jpeg", "video/mjpeg")
_TEXT = ("text/html", "application/json", "text/plain", "application/xhtml+xml")
_SAID = Throttle()


def open_source(settings: CameraSettings, rules: AddressRules | None = None) -> Source:
    """Opens the camera named by `CAMERA`, where `rules` allow it. Raises SourceError."""
    if urlsplit(settings.camera).path.lower().endswith(".m3u8"):
        return network.open_source(settings, rules)  # HLS needs many requests, which FFmpeg makes itself
    return open_http(
        HttpCamera(settings.camera, settings.source_stall_s, settings.camera_trust, rules),
        settings.source_stall_s,
        settings.camera_fps,
        settings.max_frame_bytes,
        decode_device=settings.video_decode_device,
        max_pixels=settings.max_frame_pixels,
        open_playlist=lambda: network.open_source(settings, rules),
    )


def open_http(
    camera: HttpCamera,
    stall_s: float,
    fps: float,
    max_image_bytes: int,
    *,
    decode_device: str = "none",
    max_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
    open_playlist: Callable[[], Source] | None = None,
) -> Source:
    """Opens the camera; the content of its response decides how. `fps` is the rate at which still images are polled.

    `open_playlist` opens a playlist of HLS. Raises SourceError.
    """
    answer = camera.get()
    kind = answer.content_type
    if kind in _STILL:
        return StillSource(camera, answer, stall_s, fps, max_image_bytes)
    if kind.startswith("video/") and kind not in _MJPEG:
        return HttpContainerSource(camera, answer, stall_s, decode_device, max_pixels)
    if kind not in _MJPEG and not kind.startswith("multipart/"):
        # Cameras and file servers name all kinds of types.
        first = _first_bytes(camera, answer)
        if b"\xff\xd8\xff" in first or first.lstrip().startswith(b"--"):
            return MjpegSource(camera, answer, stall_s, max_image_bytes)
        if first.startswith(b"#EXTM3U") and open_playlist is not None:
            answer.close()
            return open_playlist()
        if kind in _TEXT and b"\0" not in first:
            answer.close()
            raise SourceError(
                f"The camera {camera.shown} answers with a page ({kind}), not with video: look up the URL of its "
                "stream."
            )
        return HttpContainerSource(camera, answer, stall_s, decode_device, max_pixels)
    return MjpegSource(camera, answer, stall_s, max_image_bytes)


def _first_bytes(camera: HttpCamera, answer: Answer) -> bytes:
    """The start of the body, if the stated content type does not tell what it is."""
    try:
        return answer.response.peek(4096)[:4096]
    except (OSError, http.client.HTTPException) as error:
        answer.close()
        raise SourceError(f"The connection to the camera {camera.shown} broke ({type(error).__name__}).") from None


class MjpegSource:
    """An open MJPEG stream over HTTP."""

    def __init__(self, camera: HttpCamera, answer: Answer, stall_s: float, max_image_bytes: int) -> None:
        """An image of more than `max_image_bytes` is invalid; `stall_s` without one is an error."""
        self._shown = camera.shown
        self._answer = answer
        self._stall_s = stall_s
        self._max_image_bytes = max_image_bytes
        self._images = JpegStream(max_image_bytes)
        self._pending: deque[CapturedFrame] = deque()
        self._frame: CapturedFrame | None = None
        self._oversize = self._unfinished = 0

    def grab(self, on_data: Callable[[], None]) -> float | None:
        """Waits for the next image. Raises SourceError at the end, after `stall_s` without one, or if not MJPEG."""
        deadline = time.monotonic() + self._stall_s
        while not self._pending:
            if time.monotonic() > deadline:
                raise SourceError(f"The camera {self._shown} has sent no image for {self._stall_s:g} s.")
            data = _read(self._answer, self._shown, self._stall_s)
            ts, captured = time.time(), time.monotonic()
            self._pending.extend(CapturedFrame(ts, captured, jpeg=image) for image in self._images.feed(data))
            self._report_unfinished()
            if self._images.oversize > self._oversize:
                self._oversize = self._images.oversize
                self._frame = None
                return None
        on_data()
        self._frame = self._pending.popleft()
        return None

    def retrieve(self) -> CapturedFrame:
        """Returns the image. Raises InvalidFrameError if it was too large."""
        if self._frame is None:
            raise _too_large(self._shown, self._max_image_bytes)
        return self._frame

    def rest(self, quiet: bool, on_skip: Callable[[float | None], None]) -> None:
        """Does nothing: no frame is decoded."""

    def thin(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        """Does nothing: no frame is decoded."""

    def facts(self) -> SourceFacts:
        """See `Source`."""
        return SourceFacts("HTTP", "MJPEG", "mjpeg")

    def interrupt(self) -> None:
        """Ends a blocked `grab`; safe to call from any thread."""
        self._answer.interrupt()

    def close(self) -> None:
        """Closes the connection."""
        self._answer.close()

    def _report_unfinished(self) -> None:
        if self._images.unfinished > self._unfinished:
            self._unfinished = self._images.unfinished
            if _SAID.allow((self._shown, "unfinished")):
                log.warning("The camera %s sends images without an end marker: shown as they are", self._shown)


class StillSource:
    """A URL that answers with one JPEG, polled at a fixed rate."""

    def __init__(self, camera: HttpCamera, answer: Answer, stall_s: float, fps: float, max_image_bytes: int) -> None:
        self._camera = camera
        self._answer: Answer | None = answer
        self._stall_s = stall_s
        self._interval_s = 1 / fps
        self._max_image_bytes = max_image_bytes
        self._due_s = time.monotonic()
        self._frame: CapturedFrame | None = None

    def grab(self, on_data: Callable[[], None]) -> float | None:
        """Waits until the next image is due and fetches it. Raises SourceError."""
        wait_s = self._due_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        self._due_s = max(self._due_s + self._interval_s, time.monotonic())
        answer = self._answer or self._camera.get()
        self._answer = answer
        ts, captured = time.time(), time.monotonic()
        data = bytearray()
        while len(data) <= self._max_image_bytes and (chunk := _read_some(answer, self._camera.shown, self._stall_s)):
            data += chunk
        answer.close()
        self._answer = None
        on_data()
        fits = len(data) <= self._max_image_bytes
        self._frame = CapturedFrame(ts, captured, jpeg=whole_jpeg(bytes(data))) if fits else None
        return None

    def retrieve(self) -> CapturedFrame:
        """Returns the image. Raises InvalidFrameError if it was too large."""
        if self._frame is None:
            raise _too_large(self._camera.shown, self._max_image_bytes)
        return self._frame

    def rest(self, quiet: bool, on_skip: Callable[[float | None], None]) -> None:
        """Does nothing: no frame is decoded."""

    def thin(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        """Does nothing: no frame is decoded."""

    def facts(self) -> SourceFacts:
        """See `Source`."""
        return SourceFacts(POLLED, "still images", "mjpeg")

    def interrupt(self) -> None:
        """Ends a blocked `grab`; safe to call from any thread."""
        if (answer := self._answer) is not None:
            answer.interrupt()

    def close(self) -> None:
        """Closes the connection."""
        if self._answer is not None:
            self._answer.close()


class HttpContainerSource(LiveContainer):
    """Video in a container over HTTP, such as HTTP-FLV or MPEG-TS: our connection, FFmpeg's demuxer and decoder."""

    def __init__(self, camera: HttpCamera, answer: Answer, stall_s: float, decode_device: str, max_pixels: int) -> None:
        """Raises SourceError if FFmpeg does not know the format."""
        self._what = f"The camera {camera.shown}"
        self._answer = answer
        self._unfinished = Unfinished(self._what)
        self._body = _Body(answer, camera.shown, stall_s, self._unfinished)
        try:
            self._container = Container(
                cast(IO[bytes], self._body),
                self._what,
                options={"analyzeduration": "1000000", "flags": "low_delay"},
                decode_device=decode_device,
                name_codec=lambda: matroska_codec(bytes(self._body.begin)),
                max_pixels=max_pixels,
            )
        except SourceError as error:
            answer.close()
            found = error
            if not self._body.begin:
                found = SourceError(f"{self._what} ended the connection before sending any video.")
            raise self._body.error or found from None
        self._body.opened()
        self._frames = LiveFrames(self._container, f"{self._what} has ended its stream.", may_be_recorded=True)

    def grab(self, on_data: Callable[[], None]) -> float | None:
        """Blocks until the next frame arrives. Raises SourceError at the end, or `stall_s` without data."""
        try:
            return self._frames.grab(self._unfinished.resetting(on_data))
        except SourceError as error:
            raise self._body.error or error from None

    def facts(self) -> SourceFacts:
        """See `Source`."""
        return self._container.facts("HTTP")

    def interrupt(self) -> None:
        """Ends a blocked `grab`; safe to call from any thread."""
        self._answer.interrupt()

    def close(self) -> None:
        """Closes the connection."""
        self._container.close()
        self._answer.close()


class _Body(io.RawIOBase):
    """An answer's body as a file for FFmpeg. An error is kept: FFmpeg would only say that the input ended."""

    def __init__(self, answer: Answer, shown: str, stall_s: float, unfinished: Unfinished) -> None:
        self._answer = answer
        self._shown = shown
        self._stall_s = stall_s
        self._unfinished = unfinished
        self.error: SourceError | None = None
        self.begin = bytearray()  # what came first
        self._opening = True
        self._open_until = time.monotonic() + OPEN_S

    def read(self, size: int = -1) -> bytes:
        try:
            if self._opening and time.monotonic() > self._open_until:
                raise SourceError(f"The camera {self._shown} sent too little within {OPEN_S:g} s to know its video.")
            data = _read_some(self._answer, self._shown, self._stall_s, size if size > 0 else _READ_BYTES)
            if len(self.begin) < _READ_BYTES and self._opening:
                self.begin += data
            if not self._unfinished.add(len(data)):
                raise SourceError(self._unfinished.error)
            return data
        except SourceError as error:
            self.error = error
            return b""

    def opened(self) -> None:
        """Forgets the beginning: the container is known."""
        self._opening = False
        self.begin.clear()

    def readable(self) -> bool:
        return True


def _read(answer: Answer, shown: str, stall_s: float) -> bytes:
    data = _read_some(answer, shown, stall_s)
    if not data:
        raise SourceError(f"The camera {shown} has ended its stream.")
    return data


def _read_some(answer: Answer, shown: str, stall_s: float, size: int = _READ_BYTES) -> bytes:
    try:
        data = answer.response.read1(size)
    except TimeoutError:
        raise SourceError(f"The camera {shown} has sent nothing for {stall_s:g} s.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError(f"The connection to the camera {shown} broke ({type(error).__name__}).") from None
    if not data and answer.interrupted.is_set():
        raise SourceError(f"The camera {shown} has sent no image for {stall_s:g} s.")
    return data


def _too_large(shown: str, max_bytes: int) -> InvalidFrameError:
    return InvalidFrameError(
        InvalidReason.TOO_LARGE, f"the camera {shown} sends images of more than {max_bytes} bytes (MAX_FRAME_BYTES)"
    )
