"""Settings of the camera stream service and the file stream service."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from elastic_inference.base.address_rules import DEFAULT_NETWORKS, AddressRules
from elastic_inference.base.settings.common import CommonSettings, QueueRules
from elastic_inference.base.settings.fields import (
    INFER_TYPE_TEXT,
    Flag,
    HostPath,
    Networks,
    ReadablePath,
    check_name,
)
from elastic_inference.base.settings.setting import setting
from elastic_inference.base.url import check_url, hide_password
from elastic_inference.domain import keys
from elastic_inference.domain.camera_choices import (
    CAMERA_SCHEMES,
    LATER_SCHEMES,
    GateKind,
    ImageSize,
    check_listener,
)
from elastic_inference.domain.errors import SettingError


def _check_types(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("expected at least one inference type")
    if len(set(names)) != len(names):
        raise ValueError("expected each inference type once")
    for name in names:
        if not keys.is_name(name):
            raise ValueError(f"{name[:40]!r}: {keys.NAME_RULE}")
    return names


def _check_camera(value: str) -> str:
    if value.isdigit() and int(value) < 256:
        return value
    if value.startswith("/dev/"):
        return value
    scheme, separator, _ = value.partition("://")
    if separator and scheme.lower() in LATER_SCHEMES:
        raise ValueError(LATER_SCHEMES[scheme.lower()])
    if separator and scheme.lower() in CAMERA_SCHEMES:
        _check_network_url(value)
        return value
    raise ValueError("expected a USB index, /dev/videoN, rtsp://… or http://…")


def _check_substream(value: str) -> str:
    if value.partition("://")[0].lower() not in CAMERA_SCHEMES:
        raise ValueError("expected rtsp://… or http://…")
    _check_network_url(value)
    return value


def _check_network_url(value: str) -> None:
    check_listener(value)
    check_url(value, "expected rtsp://… or http://…")


def _check_fingerprint(value: str) -> str:
    if re.fullmatch(r"sha256:([0-9a-fA-F]{2}:?){32}", value):
        return value
    raise ValueError("expected sha256: and 64 hexadecimal digits")


@dataclass(frozen=True, kw_only=True)
class ProducerSettings(CommonSettings, QueueRules):
    """Settings that both stream services read."""

    infer_type: Annotated[tuple[str, ...], _check_types] = setting(("people",), description=INFER_TYPE_TEXT)
    stream_name: Annotated[str, check_name] | None = setting(
        None, description="name of the stream (default: host or pod name, `-camera` or `-file`)"
    )
    frame_width: int | None = setting(None, ge=16, le=16384, description="resize to this width, pixels")
    frame_height: int | None = setting(None, ge=16, le=16384, description="resize to this height, pixels")
    jpeg_quality: int = setting(80, ge=1, le=100, description="JPEG quality of frames that are encoded here")
    video_decode_device: Literal["none", "auto", "cuda", "vaapi", "qsv", "drm"] = setting(
        "none", description="hardware that decodes video; software decodes where it fails"
    )


@dataclass(frozen=True, kw_only=True)
class CameraSettings(ProducerSettings):
    """Settings of the camera stream service."""

    service = "camera stream"
    command = "ei-camera-stream-service"
    camera: Annotated[str, _check_camera] = setting(
        "0",
        description="USB index, /dev/videoN, or a URL: rtsp, rtsps, http, https (MJPEG, still images, FLV, MPEG-TS, "
        "HLS), rtmp, rtmps, udp or rtp",
    )
    camera_substream: Annotated[str, _check_substream] | None = setting(
        None,
        description="URL of a smaller stream of the same view, with user and password if it needs them: it is read "
        "while nobody watches, and CAMERA while somebody does",
    )
    camera_fps: float = setting(
        15.0,
        gt=0,
        le=240,
        description="frames per second requested from a USB camera; limits network cameras; polls still images",
    )
    camera_size: ImageSize = setting(
        ImageSize.SOURCE,
        description="auto: while nobody watches, frames are as large as the models need; source: as the camera sends "
        "them; a camera of the pool may say otherwise",
    )
    camera_gate: GateKind = setting(
        GateKind.NONE,
        description="motion: while nothing moves and nobody watches, one frame a second is inferred; none: every "
        "frame; a camera of the pool may say otherwise",
    )
    camera_transport: Literal["auto", "tcp", "udp"] = setting(
        "auto", description="transport of RTSP; auto tries TCP, then UDP"
    )
    camera_ca_file: ReadablePath = setting(
        None, description="certificate, or certificate authorities, to trust for https, rtsps and rtmps (PEM)"
    )
    camera_ca_dir: ReadablePath = setting(
        None, description="folder of the PEM files that cameras of the pool name as their `certificate`"
    )
    camera_fingerprint: Annotated[str, _check_fingerprint] | None = setting(
        None, description="sha256:<fingerprint> of the camera's certificate, instead of CAMERA_CA_FILE"
    )
    camera_pool: Flag = setting(
        False, description="true: run cameras of the pool, which the source workers share, instead of CAMERA"
    )
    camera_processes: int | None = setting(
        None, ge=1, le=64, description="processes for the cameras of a source worker (default: its CPUs, at most 4)"
    )
    source_stall_s: float = setting(
        5.0, ge=0.5, le=600, description="no data for this long is a stall: reconnect, seconds"
    )

    camera_networks: Networks = setting(
        DEFAULT_NETWORKS,
        description="addresses and networks where cameras of the pool may be, comma-separated (default: private ones); "
        "loopback, link-local, multicast and metadata services need a network of their own here",
    )
    video_dir: ReadablePath = setting(
        None, description="folder of the videos that may be cameras of the pool; without it, none may"
    )

    def __post_init__(self) -> None:
        if self.camera_substream is not None and "://" not in self.camera:
            raise SettingError(
                "CAMERA_SUBSTREAM",
                hide_password(self.camera_substream),
                "expected none: only a CAMERA with a network address has a substream",
            )

    @property
    def address_rules(self) -> AddressRules:
        """Where cameras of the pool may be."""
        return AddressRules(self.camera_networks, self.video_dir)

    @property
    def camera_trust(self) -> str | None:
        """The fingerprint or the PEM file to trust, None for the system's authorities."""
        return self.camera_fingerprint or (str(self.camera_ca_file) if self.camera_ca_file else None)


@dataclass(frozen=True, kw_only=True)
class FileSettings(ProducerSettings):
    """Settings of the file stream service."""

    service = "file stream"
    command = "ei-file-stream-service"
    video_file: Annotated[Path, HostPath("read", "/videos")] = setting(
        description="any video file that FFmpeg reads; it loops"
    )
    video_fps: float | None = setting(None, gt=0, le=1000, description="frames per second (default: the file's)")
