"""A camera on the command line: by URL, by Secret or as a device, and the addresses that its pod may reach."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import OBJECT_NAME, SECRET_NAME, check, network

_DEVICE = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9._/:-]*")
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


@dataclass(frozen=True)
class Camera:
    """One camera. Exactly one of `url`, `secret` and `device` is set.

    `address` is a network and `port` a TCP port, both empty if they are not known.
    """

    name: str
    url: str = ""
    secret: str = ""
    device: str = ""
    address: str = ""
    port: int = 0

    @property
    def note(self) -> str:
        """What its network policy leaves open, in one line; empty if the policy names one address and port."""
        if self.device or (self.address and self.port):
            return ""
        missing = " and ".join(
            option for option, known in (("--camera-cidr", self.address), ("--camera-port", self.port)) if not known
        )
        port = f"TCP port {self.port}" if self.port else "any TCP port"
        return f"{self.name} may reach {self.address or 'any address'} at {port}: {missing} narrows it"


def parse_camera(name: str | None, source: str | None, cidr: str | None, port: str | None) -> Camera | None:
    """The camera of `-n` and `-c`, None without one. Raises ManifestError; its message never shows a URL."""
    camera = _camera(name, source) if name or source else None
    if cidr is None and port is None:
        return camera
    if camera is None or camera.device:
        raise ManifestError("--camera-cidr or --camera-port is for a network camera: -n NAME -c URL or SECRET")
    if port is not None and not (port.isdecimal() and 0 < int(port) < 65536):
        raise ManifestError(f"--camera-port {port}: expected a port such as 554")
    return Camera(
        camera.name,
        url=camera.url,
        secret=camera.secret,
        address=camera.address if cidr is None else str(network("--camera-cidr", cidr)),
        port=camera.port if port is None else int(port),
    )


def _camera(name: str | None, source: str | None) -> Camera:
    if not name or not source:
        raise ManifestError("-n NAME and -c CAMERA go together")
    check("-n", name, OBJECT_NAME, "at most 40 lower-case letters, digits and '-'")
    if source.isdigit():
        return Camera(name, device=f"/dev/video{source}")
    if source.startswith("/dev/"):
        check("-c", source, _DEVICE, "/dev/videoN")
        return Camera(name, device=source)
    if "://" not in source:
        check("-c", source, SECRET_NAME, "a URL, the name of a Secret, or /dev/videoN")
        return Camera(name, secret=source)
    try:
        parts = urlsplit(source)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in _PORTS or not host or any(each in source for each in '"\\\n '):
        raise ManifestError(
            "-c: expected rtsp://…, rtsps://…, http://… or https://… with a host (special characters as %XX)"
        )
    try:
        address = ipaddress.ip_address(host)
        cidr = f"{address}/{address.max_prefixlen}"
    except ValueError:
        cidr = ""
    return Camera(name, url=source, address=cidr, port=port or _PORTS[parts.scheme])
