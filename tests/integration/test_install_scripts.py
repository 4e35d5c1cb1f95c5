"""tools/install-*.sh: what they print without a cluster, and how they call kubectl."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.manifests import PROJECT

SCRIPTS = ("install-metrics-server.sh", "install-keda.sh")
WHOLE = "deployment.apps/keda-admission\ndeployment.apps/keda-metrics-apiserver\ndeployment.apps/keda-operator\n"
LABEL = "label namespace keda elastic-inference/scaler=allowed"


def run(script: str, *arguments: str, kubectl: Cluster | None = None) -> tuple[int, str, str]:
    path = f"{kubectl.program.parent}:{os.environ['PATH']}" if kubectl else os.environ["PATH"]
    done = subprocess.run(
        [str(PROJECT / "tools" / script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "KUBECONFIG": "/nonexistent", "PATH": path},
    )
    return done.returncode, done.stdout, done.stderr


class Cluster:
    """A `kubectl` that behaves like that of an empty cluster and records its arguments."""

    def __init__(self, folder: Path) -> None:
        """`folder` gets the program and its answers."""
        self._folder = folder
        self.program = folder / "bin" / "kubectl"
        self.program.parent.mkdir()
        self.program.write_text(
            f"""#!/bin/sh
cd {folder}
echo "$*" >> asked
case "$*" in
"version -o"*) printf '{{\\n "serverVersion": {{\\n  "minor": "36",\\n }}\\n}}\\n' ;;
"get apiservice"*) cat server ;;
"get --raw"*) cat answers ;;
*"get deployment keda-operator"*) cat installed ;;
*"get deployment -o name"*) cat deployments ;;
*"rollout status"*) cat ready ;;
esac
"""
        )
        self.program.chmod(0o755)
        self.says(server="", answers="{}", installed="", ready="")
        self.says(deployments=WHOLE)

    def says(self, **answers: str | None) -> None:
        """What it answers; None makes kubectl fail."""
        for name, text in answers.items():
            file = self._folder / name
            file.unlink(missing_ok=True)
            if text is not None:
                file.write_text(text)

    @property
    def asked(self) -> str:
        return (self._folder / "asked").read_text()

    @property
    def changed(self) -> bool:
        return any(line.split()[0] in ("apply", "label") for line in self.asked.splitlines())


@pytest.fixture
def kubectl(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


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
@pytest.mark.parametrize(
    "wrong", [["--manifest"], ["--manifest="], ["--manifest", "/nonexistent/file"], ["--manifest", "/"], ["--what"]]
)
def test_wrong_arguments_are_named(script: str, wrong: list[str]) -> None:
    code, _, said = run(script, *wrong)
    assert code == 2
    assert wrong[0].rstrip("=") in said
    assert "Traceback" not in said


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_cluster_nothing_is_fetched(script: str) -> None:
    code, _, said = run(script, "--dry-run")
    assert code == 1
    assert "kubectl" in said
    assert "fetching" not in said


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_prints_the_manifest_and_changes_nothing(script: str, kubectl: Cluster, manifest: Path) -> None:
    code, said, problems = run(script, "--dry-run", "--manifest", str(manifest), kubectl=kubectl)
    assert code == 0, problems
    assert "kind: Deployment" in said
    assert not kubectl.changed


def test_metrics_server_gets_the_flag_for_self_signed_kubelets(kubectl: Cluster, manifest: Path) -> None:
    arguments = ("--dry-run", "--kubelet-insecure-tls", "--manifest", str(manifest))
    code, said, problems = run("install-metrics-server.sh", *arguments, kubectl=kubectl)
    assert code == 0, problems
    assert said.splitlines()[-2:] == ["  - --kubelet-use-node-status-port", "  - --kubelet-insecure-tls"]


def test_kedas_namespace_gets_access(kubectl: Cluster, manifest: Path) -> None:
    code, _, problems = run("install-keda.sh", "--manifest", str(manifest), kubectl=kubectl)
    assert code == 0, problems
    assert "apply --server-side" in kubectl.asked
    assert "--force-conflicts" not in kubectl.asked
    assert LABEL in kubectl.asked


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_link_to_the_script_accepts_the_other_form_of_the_option(
    script: str, kubectl: Cluster, manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / script).symlink_to(PROJECT / "tools" / script)
    code, said, problems = run(str(tmp_path / script), "--dry-run", f"--manifest={manifest}", kubectl=kubectl)
    assert code == 0, problems
    assert "kind: Deployment" in said


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("script", "answers"), [("install-keda.sh", "{}"), ("install-keda.sh", None), ("install-metrics-server.sh", None)]
)
def test_a_foreign_server_of_the_metrics_is_named_and_left_alone(
    script: str, answers: str | None, dry: list[str], kubectl: Cluster, manifest: Path
) -> None:
    kubectl.says(server="other/adapter", answers=answers)
    code, said, problems = run(script, *dry, "--manifest", str(manifest), kubectl=kubectl)
    assert code == 1
    assert "other/adapter" in problems
    assert not said
    assert not kubectl.changed


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize("script", SCRIPTS)
def test_who_serves_the_metrics_has_to_be_known(script: str, dry: list[str], kubectl: Cluster, manifest: Path) -> None:
    kubectl.says(server=None)
    code, _, problems = run(script, *dry, "--manifest", str(manifest), kubectl=kubectl)
    assert code == 1
    assert "cannot find out who serves" in problems
    assert not kubectl.changed


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_resource_metrics_that_answer_are_enough(dry: list[str], kubectl: Cluster, manifest: Path) -> None:
    kubectl.says(server="other/metrics")
    code, said, problems = run("install-metrics-server.sh", *dry, "--manifest", str(manifest), kubectl=kubectl)
    assert code == 0
    assert "nothing to do" in problems
    assert not said
    assert not kubectl.changed


def test_a_metrics_server_that_does_not_answer_is_applied_again(kubectl: Cluster, manifest: Path) -> None:
    kubectl.says(server="kube-system/metrics-server", answers=None)
    code, _, problems = run("install-metrics-server.sh", "--manifest", str(manifest), kubectl=kubectl)
    assert code == 0, problems
    assert "\napply -f" in kubectl.asked


@pytest.mark.parametrize("helm", ["", "Helm"])
def test_a_keda_of_this_version_only_gets_access(helm: str, kubectl: Cluster, manifest: Path) -> None:
    kubectl.says(server="keda/keda-metrics-apiserver", installed=f"{keda_version()}|{helm}")
    arguments = ("--manifest", str(manifest))
    code, said, problems = run("install-keda.sh", "--dry-run", *arguments, kubectl=kubectl)
    assert code == 0, problems
    assert said.startswith(f"# kubectl {LABEL}")
    assert not kubectl.changed
    code, _, problems = run("install-keda.sh", *arguments, kubectl=kubectl)
    assert code == 0, problems
    assert "nothing to apply" in problems
    assert LABEL in kubectl.asked
    assert "apply" not in kubectl.asked


def test_a_keda_of_this_version_that_does_not_answer_is_applied_again(kubectl: Cluster, manifest: Path) -> None:
    kubectl.says(server="keda/keda-metrics-apiserver", installed=f"{keda_version()}|", answers=None)
    code, _, problems = run("install-keda.sh", "--manifest", str(manifest), kubectl=kubectl)
    assert code == 0, problems
    assert "apply --server-side" in kubectl.asked


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("installed", "named"),
    [("2.99.0|", "KEDA 2.99.0"), ("2.99.0|Helm", "KEDA 2.99.0, managed by Helm"), ("|", "KEDA of an unknown version")],
)
def test_another_keda_stays_unless_forced(
    installed: str, named: str, dry: list[str], kubectl: Cluster, manifest: Path
) -> None:
    kubectl.says(server="keda/keda-operator-metrics-apiserver", installed=installed)
    arguments = ("--manifest", str(manifest))
    code, said, problems = run("install-keda.sh", *dry, *arguments, kubectl=kubectl)
    assert code == 1
    assert named in problems
    assert "--force" in problems
    assert f"kubectl {LABEL}" in problems
    assert not said
    assert not kubectl.changed
    code, _, problems = run("install-keda.sh", "--force", *dry, *arguments, kubectl=kubectl)
    assert code == 0, problems
    assert ("apply --server-side --force-conflicts" in kubectl.asked) is (not dry)


@pytest.mark.parametrize(
    ("deployments", "missing"),
    [
        ("", "keda-operator"),
        (WHOLE.replace("keda-operator", "other"), "keda-operator"),
        ("x/keda-operator\n", "metrics-"),
    ],
)
def test_a_manifest_without_kedas_deployments_is_not_done(
    deployments: str, missing: str, kubectl: Cluster, manifest: Path
) -> None:
    kubectl.says(deployments=deployments)
    code, _, problems = run("install-keda.sh", "--manifest", str(manifest), kubectl=kubectl)
    assert code == 1
    assert f"no deployment {missing}" in problems
    assert "done" not in problems


def test_a_keda_that_does_not_become_ready_is_named_with_a_command_that_works(kubectl: Cluster, manifest: Path) -> None:
    kubectl.says(ready=None)
    code, _, problems = run("install-keda.sh", "--manifest", str(manifest), kubectl=kubectl)
    assert code == 1
    assert "kubectl -n keda describe deployment/keda-operator\n" in problems


def keda_version() -> str:
    script = (PROJECT / "tools" / "install-keda.sh").read_text()
    return script.split("version=", 1)[1].split("\n", 1)[0]
