"""Settings of the camera controller."""

from dataclasses import dataclass

from elastic_inference.base.settings.common import CommonSettings


@dataclass(frozen=True, kw_only=True)
class CameraControllerSettings(CommonSettings):
    """Settings of the camera controller."""

    service = "camera controller"
    command = "ei-camera-controller"
