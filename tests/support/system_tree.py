"""Made-up /proc and /sys trees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MIB = 1024 * 1024


def file_tree(root: Path, files: Mapping[str, str]) -> Path:
    """Writes `files`, by their path below `root`, and returns `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


class QuotaFile:
    """A made-up tree with a quota of cgroup v2, in `root`."""

    def __init__(self, root: Path, cores: float) -> None:
        self.root = root
        mount = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        file_tree(root, {"proc/self/mountinfo": mount, "proc/self/cgroup": "0::/\n"})
        self.set(cores)

    def set(self, cores: float) -> None:
        """Changes the quota."""
        file_tree(self.root, {"sys/fs/cgroup/cpu.max": f"{round(cores * 100_000)} 100000\n"})


def memory_files(version: int, cgroup: str, limits: Mapping[str, str], ram: int, *, used: int = MIB) -> dict[str, str]:
    """Files that state the memory: `limits` by the cgroup's folder, `ram` and `used` in bytes."""
    mount, name = (
        ("/sys/fs/cgroup", "memory.max") if version == 2 else ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    )
    kind = "cgroup2 cgroup2 rw" if version == 2 else "cgroup cgroup rw,memory"
    files = {
        "proc/meminfo": f"MemTotal:  {ram // 1024} kB\nMemFree: 1 kB\n",
        "proc/self/status": f"Name:\tpython\nVmRSS:\t  {used // 1024} kB\n",
        "proc/self/mountinfo": f"31 23 0:26 / {mount} rw - {kind}\n",
        "proc/self/cgroup": f"0::{cgroup}\n" if version == 2 else f"4:memory:{cgroup}\n",
    }
    return files | {f"{mount[1:]}/{folder}/{name}".replace("//", "/"): f"{text}\n" for folder, text in limits.items()}
