"""How much CPU this process may use: its cgroup's quota (v1 and v2), and the cores that it may run on.

Called once at start by the inference service. Reads `/proc` and `/sys/fs/cgroup`; does not use OpenVINO.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class CpuAllowance:
    """`quota` in cores (0.5: half a core), None without a quota; `cores`: how many the scheduler may use."""

    quota: float | None
    cores: int

    @property
    def limit(self) -> float:
        """The maximum CPU time, in cores."""
        return min(float(self.cores), self.quota) if self.quota is not None else float(self.cores)

    @property
    def threads(self) -> int:
        """How many threads keep this allowance busy: the limit, rounded up."""
        return max(1, min(self.cores, int(-(-self.limit // 1))))


def cpu_allowance(root: Path = _ROOT) -> CpuAllowance:
    """The allowance of this process. `root` is the root of the file system (tests pass their own)."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return CpuAllowance(cpu_quota(root), cores)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """The lowest quota of this process's cgroup and its ancestors, in cores; None without a quota.

    A container sees its own cgroup as the root of the mount, while `/proc/self/cgroup` may still name the host's
    path. The mount's root in `mountinfo` shows which prefix to remove.
    """
    quotas = [quota for folder in _folders(root) if (quota := _folder_quota(folder)) is not None]
    return min(quotas, default=None)


def _folders(root: Path) -> Iterator[Path]:
    for mount, mount_root, version in _mounts(root):
        path = _own_path(root, version)
        if path is None:
            continue
        relative = path.relative_to(mount_root) if path.is_relative_to(mount_root) else PurePosixPath()
        top = root / mount.lstrip("/")
        folder = top / relative
        while True:
            yield folder
            if folder == top:
                break
            folder = folder.parent


def _mounts(root: Path) -> Iterator[tuple[str, PurePosixPath, int]]:
    """(mount point, root cgroup of the mount, version 1 or 2) of the hierarchies that may hold a CPU quota."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, dash, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if not dash or len(fields) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2":
            yield fields[4], PurePosixPath(fields[3]), 2
        elif kinds[0] == "cgroup" and "cpu" in kinds[2].split(","):
            yield fields[4], PurePosixPath(fields[3]), 1


def _own_path(root: Path, version: int) -> PurePosixPath | None:
    for line in _lines(root / "proc/self/cgroup"):
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (version == 2 and controllers == "") or (version == 1 and "cpu" in controllers.split(",")):
            return PurePosixPath(path or "/")
    return None


def _folder_quota(folder: Path) -> float | None:
    quota, period = "", ""
    for line in _lines(folder / "cpu.max"):
        quota, _, period = line.partition(" ")
    if not quota:
        quota = "".join(_lines(folder / "cpu.cfs_quota_us"))
        period = "".join(_lines(folder / "cpu.cfs_period_us"))
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # `max`, or no such file
        return None
    return cores if cores > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
