"""Settings of the camera controller."""

from elastic_inference.base.settings.common import CommonSettings


class CameraControllerSettings(CommonSettings):
    """Settings of the camera controller."""

    service = "camera controller"
    command = "ei-camera-controller"
