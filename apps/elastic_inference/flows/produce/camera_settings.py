"""The settings with which a camera of the pool is opened.

Called by `camera_plan` and by the process that probes, which imports little so that it starts fast.
"""

from __future__ import annotations

from dataclasses import replace

from elastic_inference.base.config import CameraSettings
from elastic_inference.base.url import with_login
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.errors import SourceError


def camera_settings(spec: CameraSpec, settings: CameraSettings) -> CameraSettings:
    """The settings with which `open_camera` opens this camera. Raises SourceError."""
    login = spec.login
    url = spec.url if login is None else with_login(spec.url, login.user, login.password.get_secret_value())
    fingerprint = spec.certificate if spec.certificate and spec.certificate.startswith("sha256:") else None
    ca_file = None
    if spec.certificate and fingerprint is None:
        if settings.camera_ca_dir is None:
            raise SourceError(f"{spec.certificate} can't be read: CAMERA_CA_DIR, the folder of such files, is not set.")
        ca_file = settings.camera_ca_dir / spec.certificate
    return replace(
        settings,
        camera=url,
        camera_fps=spec.fps,
        camera_transport=spec.transport.value,
        camera_fingerprint=fingerprint,
        camera_ca_file=ca_file,
    )
