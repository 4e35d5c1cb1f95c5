"""tools/install-*.sh: what they say without a cluster; with one, `make test-elasticity` has them installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.manifests import PROJECT

SCRIPTS = ("install-metrics-server.sh", "install-keda.sh")


def run(script: str, *arguments: str, kubectl: Path | None = None) -> tuple[int, str, str]:
    path = f"{kubectl.parent}:{os.environ['PATH']}" if kubectl else os.environ["PATH"]
    done = subprocess.run(
        [str(PROJECT / "tools" / script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "KUBECONFIG": "/nonexistent", "PATH": path},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def kubectl(tmp_path: Path) -> Path:
    """Stands for a cluster that has nothing yet, and notes what it is asked."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
echo "$*" >> {tmp_path}/asked
case "$1 $2" in
"version -o") printf '{{\\n "serverVersion": {{\\n  "minor": "36",\\n }}\\n}}\\n' ;;
"get apiservice") exit 1 ;;
esac
"""
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "manifest.yaml"
    file.write_text("kind: Deployment\nargs:\n  - --kubelet-use-node-status-port\n")
    return file


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_names_the_pinned_version_and_the_options(script: str) -> None:
    code, said, _ = run(script, "-h")
    assert code == 0
    assert "--manifest FILE" in said
    assert "--dry-run" in said
    assert "https://github.com/" in said


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("wrong", [["--manifest"], ["--manifest", "/nonexistent/file"], ["--what"]])
def test_wrong_arguments_are_named(script: str, wrong: list[str]) -> None:
    code, _, said = run(script, *wrong)
    assert code == 2
    assert wrong[0] in said
    assert "Traceback" not in said


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_cluster_nothing_is_fetched(script: str) -> None:
    code, _, said = run(script, "--dry-run")
    assert code == 1
    assert "kubectl" in said
    assert "fetching" not in said


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_prints_the_manifest_and_changes_nothing(script: str, kubectl: Path, manifest: Path) -> None:
    code, said, problems = run(script, "--dry-run", "--manifest", str(manifest), kubectl=kubectl)
    assert code == 0, problems
    assert "kind: Deployment" in said
    asked = (kubectl.parent.parent / "asked").read_text()
    assert "apply" not in asked
    assert "label" not in asked


def test_metrics_server_gets_the_flag_for_kubelets_of_their_own_making(kubectl: Path, manifest: Path) -> None:
    arguments = ("--dry-run", "--kubelet-insecure-tls", "--manifest", str(manifest))
    code, said, problems = run("install-metrics-server.sh", *arguments, kubectl=kubectl)
    assert code == 0, problems
    assert said.splitlines()[-2:] == ["  - --kubelet-use-node-status-port", "  - --kubelet-insecure-tls"]


def test_kedas_namespace_is_let_in(kubectl: Path, manifest: Path) -> None:
    code, _, problems = run("install-keda.sh", "--manifest", str(manifest), kubectl=kubectl)
    assert code == 0, problems
    asked = (kubectl.parent.parent / "asked").read_text()
    assert "apply --server-side" in asked
    assert "label namespace keda elastic-inference/scaler=allowed" in asked
