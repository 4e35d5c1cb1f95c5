"""How much memory this process may use, and how much it uses now.

Called at start by the services that decode images. Reads `/proc` and `/sys/fs/cgroup`.
"""

from __future__ import annotations

from pathlib import Path

from elastic_inference.base.cgroup import ROOT, cgroup_folders, lines_of

# Without a limit, other processes share the machine.
_SHARE_OF_RAM = 0.25
# Enough for an ordinary image of 4K, also on a small machine without a limit.
_MINIMUM_BYTES = 64 << 20
# For a system that does not report it, such as macOS.
_UNKNOWN_BYTES = 1 << 30


def memory_limit(root: Path = ROOT) -> int:
    """The lowest memory limit of this process's cgroup and its ancestors, in bytes; else a quarter of the RAM.

    `root` is the root of the file system (tests pass their own).
    """
    ram = _field(root / "proc/meminfo", "MemTotal:") or int(_UNKNOWN_BYTES / _SHARE_OF_RAM)
    limits = [
        limit
        for folder in cgroup_folders("memory", root)
        for name in ("memory.max", "memory.limit_in_bytes")
        for line in lines_of(folder / name)
        # v1 says 2^63 or so where there is no limit, v2 says `max`.
        if line.isdigit() and 0 < (limit := int(line)) < ram
    ]
    return min(limits, default=int(ram * _SHARE_OF_RAM))


def memory_used(root: Path = ROOT) -> int:
    """The memory that this process uses now, in bytes; 0 if the system does not report it."""
    return _field(root / "proc/self/status", "VmRSS:")


def room_for_images(share: float, root: Path = ROOT) -> int:
    """`share` (0..1) of the memory that this process may still take, in bytes; at least 64 MiB.

    Call it when everything that stays in memory has been loaded.
    """
    return max(_MINIMUM_BYTES, int(share * (memory_limit(root) - memory_used(root))))


def _field(path: Path, name: str) -> int:
    """The value in kB of a line such as `MemTotal:  1024 kB`, in bytes."""
    for line in lines_of(path):
        if line.startswith(name) and (words := line.split()[1:2]) and words[0].isdigit():
            return int(words[0]) * 1024
    return 0
