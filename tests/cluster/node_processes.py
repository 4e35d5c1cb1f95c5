"""Processes of a pod, where the cluster's node is this machine: to kill and freeze them as a failing node does."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.cluster.conftest import Installation
from tests.conftest import missing_tool


def processes_of(installed: Installation, pod: str) -> list[int]:
    """Process ids of a pod's first container. Skips the test on another node, where they are out of reach."""
    statuses = installed.kubectl.get("pod", pod)["status"]["containerStatuses"]
    container = statuses[0]["containerID"].rpartition("/")[2]
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):
            if container in path.read_text():
                found.append(int(path.parent.name))
    if not found:
        missing_tool(f"a cluster whose node is this machine (the processes of {pod} run elsewhere)")
    return found


def signal_pod(installed: Installation, pod: str, number: signal.Signals) -> None:
    """Sends a signal to all processes of a pod's first container."""
    for pid in processes_of(installed, pod):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
