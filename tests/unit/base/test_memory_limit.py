"""Memory limits of cgroup v1 and v2, from made-up /proc and /sys trees, and what is left for images."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.system_tree import MIB, file_tree, memory_files

from elastic_inference.base.memory_limit import memory_limit, memory_used, room_for_images

RAM = 8192 * MIB
UNLIMITED_V1 = "9223372036854771712"


def test_v2_the_lowest_limit_of_all_ancestors_counts(tmp_path: Path) -> None:
    limits = {"": "max", "pods": str(1024 * MIB), "pods/one": "max"}
    assert memory_limit(file_tree(tmp_path, memory_files(2, "/pods/one", limits, RAM))) == 1024 * MIB


def test_v1(tmp_path: Path) -> None:
    limits = {"": UNLIMITED_V1, "pod": str(512 * MIB)}
    assert memory_limit(file_tree(tmp_path, memory_files(1, "/pod", limits, RAM))) == 512 * MIB


@pytest.mark.parametrize(
    "files",
    [
        memory_files(2, "/", {"": "max"}, RAM),
        memory_files(1, "/", {"": UNLIMITED_V1}, RAM),
        memory_files(2, "/", {"": str(2 * RAM)}, RAM),
        memory_files(2, "/", {"": "what is this"}, RAM),
    ],
)
def test_without_a_limit_a_quarter_of_the_machine(tmp_path: Path, files: dict[str, str]) -> None:
    assert memory_limit(file_tree(tmp_path, files)) == RAM // 4


def test_where_the_system_says_nothing(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == 1024 * MIB
    assert memory_used(tmp_path) == 0


def test_images_share_what_is_left(tmp_path: Path) -> None:
    root = file_tree(tmp_path, memory_files(2, "/", {"": str(1000 * MIB)}, RAM, used=200 * MIB))
    assert room_for_images(0.5, root) == 400 * MIB
    # A process that has filled its limit must still decode ordinary images.
    root = file_tree(tmp_path, memory_files(2, "/", {"": str(1000 * MIB)}, RAM, used=999 * MIB))
    assert room_for_images(0.5, root) == 64 * MIB


def test_this_machine_can_be_read() -> None:
    assert memory_limit() > 64 * MIB
    assert 8 * MIB < memory_used() < 64 * 1024 * MIB
