"""How much CPU this process may use: its cgroup's quota (v1 and v2), and the cores that it may run on.

Called by the inference service and the source worker, at the start and then every second, since Kubernetes changes the
quota of a running pod. Reads `/proc` and `/sys/fs/cgroup`.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.base.cgroup import ROOT, cgroup_folders, lines_of

LOOK_EVERY_S = 1.0


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


def cpu_allowance(root: Path = ROOT) -> CpuAllowance:
    """The allowance of this process. `root` is the root of the file system (tests pass their own)."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return CpuAllowance(cpu_quota(root), cores)


def cpu_quota(root: Path = ROOT) -> float | None:
    """The lowest quota of this process's cgroup and its ancestors, in cores; None without a quota."""
    return _lowest([_folder_quota(folder) for folder in cgroup_folders("cpu", root)])


class CpuWatch:
    """The allowance of this process as it is now. Not thread-safe.

    The cgroup's folders are found once, so that each check reads only two or three small files.
    """

    def __init__(self, root: Path = ROOT) -> None:
        """`root` is the root of the file system (tests pass their own)."""
        self.allowance = cpu_allowance(root)
        found = {folder: _folder_quota(folder) for folder in cgroup_folders("cpu", root)}
        self._folders = [folder for folder, quota in found.items() if quota is not None]
        self._looked_at_s = -math.inf

    def changed(self, now_s: float) -> bool:
        """Reads the quota again, at most once in LOOK_EVERY_S; True if `allowance` has changed."""
        if now_s - self._looked_at_s < LOOK_EVERY_S:
            return False
        self._looked_at_s = now_s
        quotas = [_folder_quota(folder) for folder in self._folders]
        if None in quotas:
            return False  # a file may be unreadable for a moment: assume no change
        found = CpuAllowance(_lowest(quotas), self.allowance.cores)
        changed, self.allowance = found != self.allowance, found
        return changed


def _lowest(quotas: list[float | None]) -> float | None:
    lowest = min((quota for quota in quotas if quota is not None), default=math.inf)
    return lowest if math.isfinite(lowest) else None


def _folder_quota(folder: Path) -> float | None:
    """In cores; infinite if this cgroup has none; None if no file can be read."""
    quota, period = "", ""
    for line in lines_of(folder / "cpu.max"):
        quota, _, period = line.partition(" ")
    if not quota:
        quota = "".join(lines_of(folder / "cpu.cfs_quota_us"))
        period = "".join(lines_of(folder / "cpu.cfs_period_us"))
    if not quota:
        return None
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # `max`
        return math.inf
    return cores if cores > 0 else math.inf
