"""The control groups of this process, v1 and v2: the folders in which its limits are.

Called by the code that reads a limit (`memory_limit`, `cpu_quota`). Reads `/proc`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def cgroup_folders(controller: str, root: Path = ROOT) -> Iterator[Path]:
    """The folders of this process's cgroup and of its ancestors, for a `controller` such as `cpu`.

    A container sees its own cgroup as the root of the mount, while `/proc/self/cgroup` may still name the host's
    path. The mount's root in `mountinfo` shows which prefix to remove. `root` is the root of the file system (tests
    pass their own).
    """
    for mount, mount_root, version in _mounts(controller, root):
        path = _own_path(controller, version, root)
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


def lines_of(path: Path) -> list[str]:
    """The lines of a small file; none if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _mounts(controller: str, root: Path) -> Iterator[tuple[str, PurePosixPath, int]]:
    """(mount point, root cgroup of the mount, version 1 or 2) of the hierarchies that may hold the limit."""
    for line in lines_of(root / "proc/self/mountinfo"):
        before, dash, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if not dash or len(fields) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup2":
            yield fields[4], PurePosixPath(fields[3]), 2
        elif kinds[0] == "cgroup" and controller in kinds[2].split(","):
            yield fields[4], PurePosixPath(fields[3]), 1


def _own_path(controller: str, version: int, root: Path) -> PurePosixPath | None:
    for line in lines_of(root / "proc/self/cgroup"):
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (version == 2 and controllers == "") or (version == 1 and controller in controllers.split(",")):
            return PurePosixPath(path or "/")
    return None
