"""A USB camera, read through OpenCV's V4L2; frames stay JPEG if the camera makes JPEG itself.

Called by `camera`.
"""

from __future__ import annotations

import os
import stat

import cv2

from elastic_inference.adapters.source.opencv import CaptureSource, silence
from elastic_inference.base.settings.producer import CameraSettings
from elastic_inference.domain.errors import SourceError

_MJPG = cv2.VideoWriter.fourcc(*"MJPG")


def open_source(settings: CameraSettings) -> CaptureSource:
    """Opens the camera of the settings. Raises SourceError."""
    size = (settings.frame_width, settings.frame_height)
    return open_usb(settings.camera, settings.camera_fps, settings.source_stall_s, *size)


def open_usb(
    camera: str, fps: float, stall_s: float, width: int | None = None, height: int | None = None
) -> CaptureSource:
    """Opens an index (`0`) or a device (`/dev/video0`) and requests `fps` and the size, if set.

    The camera may choose the nearest mode it has; frames are then resized later. If it makes MJPEG, frames are those
    JPEGs, undecoded. Raises SourceError with the reason.
    """
    path = f"/dev/video{int(camera)}" if camera.isdigit() else camera
    _check_device(path)
    silence()
    # OpenCV waits whole seconds for a frame, 10 by default, and reads this variable at each open.
    os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(max(1, round(stall_s)))
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    if not capture.isOpened():
        capture.release()
        raise SourceError(f"The camera {path} can't be opened: it is in use, or it is not a camera.")
    capture.set(cv2.CAP_PROP_FOURCC, _MJPG)
    if width:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    if height:
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    capture.set(cv2.CAP_PROP_FPS, fps)
    # One buffer beside the one being filled: more would only add delay.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
    raw = int(capture.get(cv2.CAP_PROP_FOURCC)) == _MJPG and capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    return CaptureSource(capture, f"The camera {path}", raw=bool(raw))


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
