"""Schemes of cameras, and the choices of their settings: what services for one camera need of `camera`."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import urlsplit

# The module of `adapters.source` that opens URLs of each scheme; any other camera is a USB camera.
CAMERA_SCHEMES = {
    **dict.fromkeys(("rtsp", "rtsps"), "network"),
    **dict.fromkeys(("http", "https"), "http_stream"),
    **dict.fromkeys(("rtmp", "rtmps", "udp", "rtp", "srt"), "network"),
}
# The schemes of cameras of the pool: not SRT, which PyAV's wheel lacks.
NETWORK_SCHEMES = tuple(scheme for scheme in CAMERA_SCHEMES if scheme != "srt")
FILE_SCHEME = "file"
# At addresses of these schemes this machine listens.
LISTENING = ("udp", "rtp")
NO_SRT = "SRT is not supported: expected the camera's RTSP, RTMP or HTTP address, or that of a media server"
# Schemes that users may expect: why they are refused, and what to use instead.
LATER_SCHEMES = {
    "onvif": "ONVIF is not supported yet: expected the RTSP URL of the stream (rtsp://host/path), "
    "which the camera's manual or an ONVIF tool shows",
}


def check_listener(url: str) -> None:
    """Raises ValueError if `url` is one at which this machine listens (udp, rtp), and names no address or port.

    VLC's form `udp://@:5000` has no address. Others find what cannot be read at all.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return
    if parts.scheme in LISTENING and not (parts.hostname and port):
        raise ValueError(
            f"expected {parts.scheme}://0.0.0.0:{port or 5000}, which listens on that port of this machine, or "
            f"{parts.scheme}://239.…:{port or 5000}, which joins that group"
        )


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
