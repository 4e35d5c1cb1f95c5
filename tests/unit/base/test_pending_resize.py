"""A pod notices that it was given other CPU than it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.system_tree import file_tree

from elastic_inference.base.pending_resize import resize_waits

MOUNT = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("asked", "has", "waits"),
    [
        pytest.param("2000", "20000 100000", True, id="it was given more"),
        pytest.param("100", "20000 100000", True, id="it was given less"),
        pytest.param("200", "20000 100000", False, id="done"),
        pytest.param("155\n", "16000 100000", False, id="done, and rounded"),
        pytest.param(None, "20000 100000", False, id="not on Kubernetes"),
        pytest.param("?", "20000 100000", False, id="unreadable"),
        pytest.param("2000", "max 100000", False, id="no quota"),
    ],
)
def test_a_resize_waits_while_the_limit_that_was_asked_for_is_another(
    tmp_path: Path, asked: str | None, has: str, waits: bool
) -> None:
    root = file_tree(
        tmp_path / "root",
        {"proc/self/mountinfo": MOUNT, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{has}\n"},
    )
    limit = tmp_path / "cpu-limit"
    if asked is not None:
        limit.write_text(asked)
    assert resize_waits(limit, root) is waits
