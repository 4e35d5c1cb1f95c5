"""Detects a pending resize in place: Kubernetes was asked for another CPU limit than the pod has.

Called by `service_runner`. Kubernetes writes the requested limit into a file (downward API), a minute or two later.
Without that file, no resize is pending.
"""

from __future__ import annotations

from pathlib import Path

from elastic_inference.base.cgroup import ROOT, lines_of
from elastic_inference.base.cpu_quota import cpu_quota

ASKED = Path("/etc/elastic-inference/cpu-limit")
# systemd rounds quotas up to a hundredth of a core.
_ROUNDED_CORES = 0.015


def resize_waits(asked: Path = ASKED, root: Path = ROOT) -> bool:
    """The file `asked` holds thousandths of a core; `root` is the root of the file system (tests pass their own)."""
    try:
        wanted = int("".join(lines_of(asked))) / 1000
    except ValueError:
        return False
    quota = cpu_quota(root)
    return quota is not None and abs(wanted - quota) > _ROUNDED_CORES
