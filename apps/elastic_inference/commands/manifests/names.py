"""What may stand where a name or a network is asked for. Pure; called by whatever reads the command line."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from elastic_inference.commands.manifests.errors import ManifestError

# Names of objects and labels: RFC 1123, short enough that `ei-infer-<type>-app` and a pod's suffix still fit.
OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
SECRET_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?")
# A label's value: an image's tag becomes one, and may be longer or end in another character.
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def check(option: str, value: str, pattern: re.Pattern[str], expected: str) -> None:
    """Raises ManifestError in one line where the value of an option is not as expected."""
    if not pattern.fullmatch(value):
        raise ManifestError(f"{option} {value}: expected {expected}")


def network(option: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network with its mask; bits of a host in it are taken off. Raises ManifestError, also for a bare address."""
    try:
        if "/" in text:
            return ipaddress.ip_network(text, strict=False)
    except ValueError:
        pass
    raise ManifestError(f"{option} {text}: expected a network such as 10.244.0.0/16")


def short_path(path: Path) -> str:
    """A path as the user would type it: relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
