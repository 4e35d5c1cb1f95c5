"""Opens a camera by address: a USB index or device, or a URL.

Called by `produce.camera_service`. A new kind of camera is a module with `open_source` and a line in `CAMERA_SCHEMES`.
"""

from __future__ import annotations

from importlib import import_module

from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.settings.producer import CameraSettings
from elastic_inference.base.url import hide_password
from elastic_inference.domain.camera_choices import CAMERA_SCHEMES
from elastic_inference.domain.errors import SourceError


def camera_label(camera: str) -> str:
    """Describes the camera in logs and errors, without user, password or query."""
    return f"The camera {hide_password(camera)}"


def open_camera(settings: CameraSettings, rules: AddressRules | None = None) -> Source:
    """Opens the camera named by `CAMERA`; one of the pool only where `rules` allow it. Raises SourceError."""
    scheme = settings.camera.partition("://")[0].lower()
    name = CAMERA_SCHEMES.get(scheme)
    if name is None and rules is not None:
        raise SourceError("A camera of the pool needs a network address: USB cameras belong to one machine.")
    module = import_module(f"elastic_inference.adapters.source.{name or 'usb'}")
    source: Source = module.open_source(settings) if rules is None else module.open_source(settings, rules)
    return source
