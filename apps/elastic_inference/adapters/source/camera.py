"""Opens a camera by address: a USB index or device, rtsp:// or http:// (MJPEG).

Called by `produce.camera_service`.
"""

from __future__ import annotations

from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.adapters.source.mjpeg import MjpegSource
from elastic_inference.adapters.source.rtsp import open_rtsp
from elastic_inference.adapters.source.usb import open_usb
from elastic_inference.base.config import CameraSettings
from elastic_inference.base.url import hide_password


def camera_label(camera: str) -> str:
    """Describes the camera in logs and errors, without user, password or query."""
    return f"The camera {hide_password(camera)}"


def open_camera(settings: CameraSettings) -> Source:
    """Opens the camera named by `CAMERA`. Raises SourceError."""
    camera = settings.camera
    scheme = camera.partition("://")[0].lower()
    if scheme in ("rtsp", "rtsps"):
        return open_rtsp(camera, settings.source_stall_s)
    if scheme in ("http", "https"):
        return MjpegSource(camera, settings.source_stall_s, settings.max_frame_bytes)
    return open_usb(camera, settings.camera_fps, settings.source_stall_s, settings.frame_width, settings.frame_height)
