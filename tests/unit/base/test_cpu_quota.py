"""CPU quotas of cgroup v1 and v2, in containers and on hosts, from made-up /proc and /sys trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.system_tree import file_tree

from elastic_inference.base.cpu_quota import LOOK_EVERY_S, CpuAllowance, CpuWatch, cpu_allowance, cpu_quota

V1_MOUNT = "32 31 0:29 {root} /sys/fs/cgroup/{folder} rw - cgroup cgroup rw,{controllers}\n"
V2_MOUNT = "31 23 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def v1(quota: str, period: str = "100000", folder: str = "sys/fs/cgroup/cpu") -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


def v1_mount(root: str, cgroup: str, controllers: str = "cpu") -> dict[str, str]:
    mount = V1_MOUNT.format(root=root, folder=controllers, controllers=controllers)
    return {"proc/self/mountinfo": mount, "proc/self/cgroup": cgroup}


def v2(cgroup: str, **quotas: str) -> dict[str, str]:
    """A v2 mount; `quotas` are the contents of `cpu.max`, by the cgroup's folder (`root`, or its name)."""
    files = {"proc/self/mountinfo": V2_MOUNT.format(root="/"), "proc/self/cgroup": f"0::{cgroup}\n"}
    for name, text in quotas.items():
        files["sys/fs/cgroup/" + ("" if name == "root" else f"{name}/") + "cpu.max"] = f"{text}\n"
    return files


def test_v1_in_a_container(tmp_path: Path) -> None:
    # The host's path shows in /proc, the mount's own root says what it is.
    root = file_tree(
        tmp_path,
        v1_mount("/kubepods/pod1/c1", "4:cpu,cpuacct:/kubepods/pod1/c1\n1:name=systemd:/\n", "cpu,cpuacct")
        | v1("50000", folder="sys/fs/cgroup/cpu,cpuacct"),
    )
    assert cpu_quota(root) == 0.5


def test_v1_with_a_path_that_the_container_does_not_see(tmp_path: Path) -> None:
    root = file_tree(
        tmp_path,
        v1_mount("/", "1:cpu:/kubepods/pod1/c1\n") | v1("10000"),
    )
    assert cpu_quota(root) == 0.1


def test_the_lowest_quota_of_all_ancestors_counts(tmp_path: Path) -> None:
    root = file_tree(
        tmp_path,
        v1_mount("/", "1:cpu:/outer/inner\n")
        | v1("-1")
        | v1("150000", folder="sys/fs/cgroup/cpu/outer")
        | v1("400000", folder="sys/fs/cgroup/cpu/outer/inner"),
    )
    assert cpu_quota(root) == 1.5


def test_v2(tmp_path: Path) -> None:
    quotas = {"user.slice": "max 100000", "user.slice/a.scope": "250000 100000"}
    assert cpu_quota(file_tree(tmp_path, v2("/user.slice/a.scope", **quotas))) == 2.5


def test_v2_in_a_container(tmp_path: Path) -> None:
    assert cpu_quota(file_tree(tmp_path, v2("/", root="10000 100000"))) == 0.1


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/mountinfo": "nonsense\n - \n", "proc/self/cgroup": "nonsense\n"},
        v2("/", root="max 100000"),
        v2("/", root="what is this"),
        v1_mount("/", "1:cpu:/\n") | v1("-1"),
        v1_mount("/", "1:cpuset:/\n", "cpuset") | v1("10000", folder="sys/fs/cgroup/cpuset"),
    ],
)
def test_no_quota(tmp_path: Path, files: dict[str, str]) -> None:
    assert cpu_quota(file_tree(tmp_path, files)) is None


@pytest.mark.parametrize(
    ("quota", "cores", "limit", "threads"),
    [(None, 8, 8.0, 8), (0.1, 8, 0.1, 1), (0.5, 8, 0.5, 1), (1.0, 8, 1.0, 1), (2.5, 8, 2.5, 3), (16.0, 4, 4.0, 4)],
)
def test_threads_follow_the_quota(quota: float | None, cores: int, limit: float, threads: int) -> None:
    allowance = CpuAllowance(quota, cores)
    assert allowance.limit == pytest.approx(limit)
    assert allowance.threads == threads


V1_FILE, V2_FILE = "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "sys/fs/cgroup/cpu.max"


@pytest.mark.parametrize(
    ("files", "name", "text"),
    [
        (v1_mount("/", "1:cpu:/\n") | v1("15000"), V1_FILE, "{}"),
        (v2("/", root="15000 100000"), V2_FILE, "{} 100000"),
    ],
)
def test_a_quota_that_changes_is_seen_within_a_second(
    tmp_path: Path, files: dict[str, str], name: str, text: str
) -> None:
    root = file_tree(tmp_path, files)
    watch = CpuWatch(root)
    assert watch.allowance.quota == 0.15
    assert not watch.changed(100.0)
    (root / name).write_text(text.format(150000))
    assert not watch.changed(100.0 + LOOK_EVERY_S / 2)
    assert watch.changed(100.0 + LOOK_EVERY_S)
    assert watch.allowance.quota == 1.5
    assert not watch.changed(110.0)
    (root / name).write_text(text.format("max" if text.endswith("100000") else "-1"))
    assert watch.changed(120.0)
    assert watch.allowance.quota is None


def test_a_quota_that_cannot_be_read_for_a_moment_has_not_changed(tmp_path: Path) -> None:
    root = file_tree(tmp_path, v1_mount("/", "1:cpu:/\n") | v1("15000"))
    watch = CpuWatch(root)
    (root / V1_FILE).unlink()
    assert not watch.changed(100.0)
    assert watch.allowance.quota == 0.15


def test_this_machine_can_be_read() -> None:
    assert cpu_allowance().cores >= 1
