"""A USB camera, read through FFmpeg's V4L2 (PyAV); frames stay JPEG if the camera sends JPEG.

Called by `camera`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import replace

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.container import Container
from elastic_inference.adapters.source.jpeg_stream import whole_jpeg
from elastic_inference.adapters.source.live_frames import LiveContainer, LiveFrames
from elastic_inference.adapters.source.source_facts import SourceFacts
from elastic_inference.base.settings.producer import CameraSettings
from elastic_inference.domain.errors import SourceError

_REASONS = {
    errno.EBUSY: "it is in use. End the other program.",
    errno.ENODEV: "it does not capture video. Many cameras have two devices: use the other one.",
    errno.ENOTTY: "it is not a camera.",
}


class UsbSource(LiveContainer):
    """An open USB camera."""

    def __init__(self, container: Container, what: str) -> None:
        """`what` names the camera in errors."""
        self._container = container
        self._frames = LiveFrames(container, f"{what} delivers no more frames.")

    def grab(self, on_data: Callable[[], None]) -> float | None:
        """Blocks until the next frame arrives."""
        self._frames.grab(on_data)
        return None

    def retrieve(self) -> CapturedFrame:
        """Returns the frame: a JPEG as the camera made it, or an image."""
        frame = super().retrieve()
        return frame if frame.jpeg is None else replace(frame, jpeg=whole_jpeg(frame.jpeg))

    def facts(self) -> SourceFacts:
        """See `Source`."""
        return self._container.facts("V4L2")

    def interrupt(self) -> None:
        """Does nothing: the driver decides when a read ends."""

    def close(self) -> None:
        """Releases the device."""
        self._container.close()


def open_source(settings: CameraSettings) -> UsbSource:
    """Opens the camera named by `CAMERA`. Raises SourceError."""
    return open_usb(
        settings.camera, settings.camera_fps, settings.source_stall_s, settings.frame_width, settings.frame_height
    )


def open_usb(camera: str, fps: float, stall_s: float, width: int | None = None, height: int | None = None) -> UsbSource:
    """Opens an index (`0`) or a device (`/dev/video0`) and requests `fps` and the size, if set.

    MJPEG is requested first, since most cameras reach their full rate only with it; frames are then those JPEGs,
    undecoded. The camera may choose the nearest mode it has; frames are then resized later. Raises SourceError with
    the reason.
    """
    path = f"/dev/video{int(camera)}" if camera.isdigit() else camera
    _check_device(path)
    what = f"The camera {path}"
    asked = {"framerate": f"{fps:g}"}
    if width and height:
        asked["video_size"] = f"{width}x{height}"
    # From the requested mode to one that any camera accepts: V4L2 refuses a rate or size that the device lacks.
    for options in ({"input_format": "mjpeg", **asked}, asked, {"input_format": "mjpeg"}, {}):
        try:
            container = Container(
                path, what, format_name="v4l2", options=options, timeout_s=(10.0, stall_s), raw_jpeg=True
            )
        except SourceError as error:
            last = error
            continue
        return UsbSource(container, what)
    number = getattr(last.__context__, "errno", 0)
    raise SourceError(
        f"{what} can't be opened: {_REASONS.get(number, 'it is in use, or it is not a camera.')}"
    ) from None


def _check_device(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise SourceError(
            f"The camera {path} does not exist: is it plugged in, and available in the container?"
        ) from None
    except OSError as error:
        raise SourceError(f"The camera {path} can't be inspected: {error.strerror}.") from None
    if not stat.S_ISCHR(mode):
        raise SourceError(f"{path} is not a camera: expected a video device such as /dev/video0.")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"The camera {path} can't be read: this user must be in the device's group (video).")
