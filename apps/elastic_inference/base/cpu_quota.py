"""How much CPU this process may use: its cgroup's quota (v1 and v2), and the cores that it may run on.

Called once at start by the inference service and the source worker. Reads `/proc` and `/sys/fs/cgroup`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from elastic_inference.base.cgroup import ROOT, cgroup_folders, lines_of


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
    quotas = [quota for folder in cgroup_folders("cpu", root) if (quota := _folder_quota(folder)) is not None]
    return min(quotas, default=None)


def _folder_quota(folder: Path) -> float | None:
    quota, period = "", ""
    for line in lines_of(folder / "cpu.max"):
        quota, _, period = line.partition(" ")
    if not quota:
        quota = "".join(lines_of(folder / "cpu.cfs_quota_us"))
        period = "".join(lines_of(folder / "cpu.cfs_period_us"))
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # `max`, or no such file
        return None
    return cores if cores > 0 else None
