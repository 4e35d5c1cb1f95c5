"""Opens a camera by address: a USB index or device, or a URL.

Called by `produce.camera_service`. A new kind of camera is a module with `open_source` and a line in `CAMERA_SCHEMES`.
"""

from __future__ import annotations

from importlib import import_module

from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.base.settings.producer import CAMERA_SCHEMES, CameraSettings
from elastic_inference.base.url import hide_password


def camera_label(camera: str) -> str:
    """Describes the camera in logs and errors, without user, password or query."""
    return f"The camera {hide_password(camera)}"


def open_camera(settings: CameraSettings) -> Source:
    """Opens the camera named by `CAMERA`. Raises SourceError."""
    scheme = settings.camera.partition("://")[0].lower()
    module = import_module(f"elastic_inference.adapters.source.{CAMERA_SCHEMES.get(scheme, 'usb')}")
    source: Source = module.open_source(settings)
    return source
