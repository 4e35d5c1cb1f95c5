"""Schemes of cameras, and the choices of their settings: what services for one camera need of `camera`."""

from __future__ import annotations

from enum import StrEnum

# The module of `adapters.source` that opens URLs of each scheme; any other camera is a USB camera.
CAMERA_SCHEMES = {
    **dict.fromkeys(("rtsp", "rtsps"), "network"),
    **dict.fromkeys(("http", "https"), "http_stream"),
    **dict.fromkeys(("rtmp", "rtmps", "udp", "rtp", "srt"), "network"),
}
# The schemes of cameras of the pool: not SRT, which PyAV's wheel lacks.
NETWORK_SCHEMES = tuple(scheme for scheme in CAMERA_SCHEMES if scheme != "srt")
FILE_SCHEME = "file"
# Schemes that users may expect: why they are refused, and what to use instead.
LATER_SCHEMES = {
    "onvif": "ONVIF is not supported yet: expected the RTSP URL of the stream (rtsp://host/path), "
    "which the camera's manual or an ONVIF tool shows",
}


class ImageSize(StrEnum):
    """auto: the size that the models need, full size while somebody watches; source: always full size."""

    AUTO = "auto"
    SOURCE = "source"


class GateKind(StrEnum):
    """none: every frame is inferred; motion: while nothing moves and nobody watches, one frame a second."""

    NONE = "none"
    MOTION = "motion"


class Transport(StrEnum):
    """The transport of RTSP; auto tries TCP, then UDP."""

    AUTO = "auto"
    TCP = "tcp"
    UDP = "udp"
