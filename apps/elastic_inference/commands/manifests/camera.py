"""A camera on the command line: by URL (a camera of the pool), or by Secret or as a device (a pod of its own)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from elastic_inference.base.url import check_encoded, url_credentials
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.names import OBJECT_NAME, SECRET_NAME, check, network
from elastic_inference.domain.camera import CameraSpec

_DEVICE = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9._/:-]*")


@dataclass(frozen=True)
class CameraOption:
    """One camera. Exactly one of `spec`, `secret` and `device` is set.

    `address` is a network and `port` a TCP port that the pod of a camera with a Secret may reach, both empty if they
    are not known.
    """

    name: str
    spec: CameraSpec | None = None
    secret: str = ""
    device: str = ""
    address: str = ""
    port: int = 0

    @property
    def note(self) -> str:
        """What its network policy does not restrict, in one line; empty if the policy names one address and port."""
        if self.spec is not None:
            return f"{self.name} is a camera of the pool, which may reach the networks of --set CAMERA_NETWORKS"
        if self.device or (self.address and self.port):
            return ""
        missing = " and ".join(
            option for option, known in (("--camera-cidr", self.address), ("--camera-port", self.port)) if not known
        )
        port = f"TCP port {self.port}" if self.port else "any TCP port"
        return f"{self.name} may reach {self.address or 'any address'} at {port}: {missing} narrows it"


def parse_camera(
    name: str | None, source: str | None, types: Sequence[str], cidr: str | None, port: str | None
) -> CameraOption | None:
    """The camera given by `-n` and `-c`; None if there is none. Raises ManifestError; its message never shows a URL."""
    camera = _camera(name, source, types) if name or source else None
    if cidr is None and port is None:
        return camera
    if camera is None or camera.device or camera.spec is not None:
        raise ManifestError(
            "--camera-cidr or --camera-port is for -n NAME -c SECRET; --set CAMERA_NETWORKS=CIDR,… is for the pool"
        )
    if port is not None and not (port.isdecimal() and 0 < int(port) < 65536):
        raise ManifestError(f"--camera-port {port}: expected a port such as 554")
    return CameraOption(
        camera.name,
        secret=camera.secret,
        address=camera.address if cidr is None else str(network("--camera-cidr", cidr)),
        port=camera.port if port is None else int(port),
    )


def _camera(name: str | None, source: str | None, types: Sequence[str]) -> CameraOption:
    if not name or not source:
        raise ManifestError("-n NAME and -c CAMERA go together")
    check("-n", name, OBJECT_NAME, "at most 40 lower-case letters, digits and '-'")
    if source.isdigit():
        return CameraOption(name, device=f"/dev/video{source}")
    if source.startswith("/dev/"):
        check("-c", source, _DEVICE, "/dev/videoN")
        return CameraOption(name, device=source)
    if "://" not in source:
        check("-c", source, SECRET_NAME, "a URL, the name of a Secret, or /dev/videoN")
        return CameraOption(name, secret=source)
    return CameraOption(name, spec=_specification(name, source, types))


def _specification(name: str, url: str, types: Sequence[str]) -> CameraSpec:
    """A camera of the pool: the login of its URL is taken out."""
    scheme, _, rest = url.partition("://")
    _, at, address = rest.rpartition("@")
    try:
        check_encoded(url)
        fields: dict[str, object] = {"name": name, "url": f"{scheme.lower()}://{address}"}
        if types:
            fields["types"] = types
        if at:
            user, password = url_credentials(url)
            fields["login"] = {"user": user or "", "password": password or ""}
        return CameraSpec.model_validate(fields)
    except ValidationError as error:
        raise ManifestError(f"-c: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    except ValueError as error:
        raise ManifestError(f"-c: {error}") from None
