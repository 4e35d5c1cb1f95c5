"""Starts and stops the cluster of a command (`up`, `down`, `status`, `env`), whatever an earlier one left behind.

`python -m tests.cluster.own_cluster down` stops the cluster of EI_CLUSTER_COMMAND.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.manifests import PROJECT

TRIES = 3
# A program that cannot start ends within this time.
_SETTLED_S = 3.0


def cluster_command() -> Path | None:
    """EI_CLUSTER_COMMAND, else the command that is beside the project; None without one."""
    given = os.environ.get("EI_CLUSTER_COMMAND")
    path = Path(given) if given else PROJECT.parent / "shared" / "tools" / "cluster" / "cluster"
    return path if path.is_file() else None


def bring_up(command: Path) -> dict[str, str]:
    """The environment with which kubectl reaches the cluster; starts it unless all of it runs.

    RuntimeError if it does not start. One that runs is not started again, since kube-proxy would exit.
    """
    for _ in range(TRIES):
        found = _environ_of(command)
        if _answers(found) and not _ended(command):
            return found
        take_down(command)
        subprocess.run([str(command), "up"], timeout=1800, check=False)
        time.sleep(_SETTLED_S)
    found = _environ_of(command)
    ended = _ended(command)
    if not _answers(found) or ended:
        raise RuntimeError(f"the cluster does not start: {', '.join(ended) or 'its API does not answer'}")
    return found


def take_down(command: Path) -> None:
    """Stops what runs of the cluster, and removes its state."""
    # `down` ends halfway if no IP set of the cluster is left. The state that remains then says that the node is Ready,
    # so that the next `up` does not wait for the kubelet.
    with contextlib.suppress(OSError):
        subprocess.run(["ipset", "create", "KUBE-LAST", "hash:ip"], capture_output=True, check=False)
    subprocess.run([str(command), "down"], capture_output=True, timeout=300, check=False)


def _environ_of(command: Path) -> dict[str, str]:
    text = subprocess.run([str(command), "env"], check=False, capture_output=True, text=True, timeout=60).stdout
    found = dict(re.findall(r"\b(KUBECONFIG|PATH)=(\S+)", text))
    found["PATH"] = found.get("PATH", "$PATH").replace("$PATH", os.environ["PATH"])
    return found


def _answers(environ: Mapping[str, str]) -> bool:
    asked = ["kubectl", "get", "--raw", "/readyz", "--request-timeout=5s"]
    done = subprocess.run(asked, env={**os.environ, **environ}, capture_output=True, timeout=30, check=False)
    return "KUBECONFIG" in environ and done.returncode == 0


def _ended(command: Path) -> list[str]:
    """The lines of `status` about programs of the cluster that have ended."""
    text = subprocess.run([str(command), "status"], check=False, capture_output=True, text=True, timeout=60).stdout
    return [" ".join(line.split()) for line in text.splitlines() if re.search(r"\s(down|not running)\b", f" {line}")]


if __name__ == "__main__":
    found_command = cluster_command()
    if sys.argv[1:] != ["down"] or found_command is None:
        sys.exit("expected `python -m tests.cluster.own_cluster down`, and a cluster command in EI_CLUSTER_COMMAND")
    take_down(found_command)
