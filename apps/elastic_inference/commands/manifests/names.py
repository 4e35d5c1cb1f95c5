"""Valid names and networks on the command line, and how paths are shown. Pure; called by the modules beside it."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from elastic_inference.commands.manifests.errors import ManifestError

# Names of objects and labels: RFC 1123, short enough for `ei-infer-<type>-app` and a pod's suffix.
OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
SECRET_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?")
# A label's value. An image's tag becomes one, although tags may be longer and end in other characters.
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def check(option: str, value: str, pattern: re.Pattern[str], expected: str) -> None:
    """Raises ManifestError if the value of an option does not match."""
    if not pattern.fullmatch(value):
        raise ManifestError(f"{option} {value}: expected {expected}")


def network(option: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network with its mask; host bits are cleared. Raises ManifestError, also for an address without a mask."""
    try:
        if "/" in text:
            return ipaddress.ip_network(text, strict=False)
    except ValueError:
        pass
    raise ManifestError(f"{option} {text}: expected a network such as 10.244.0.0/16")


def short_path(path: Path) -> str:
    """A path as the user would type it: relative to the working directory if it is below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
