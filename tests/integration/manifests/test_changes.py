"""Which pods a change replaces: a pod reads its passwords and settings only at start."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.commands.manifests.main import main
from tests.support.manifests import PROJECT, load, name_of, workloads

CORE = str(PROJECT / "kubernetes/elastic-inference.yaml.template")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the templates, to be edited."""
    shutil.copytree(PROJECT / "kubernetes", tmp_path / "kubernetes", ignore=shutil.ignore_patterns("*.yaml"))
    return tmp_path


def pods(target: Path, *arguments: str) -> dict[str, Any]:
    """Generates manifests into `target`; returns the pod templates by the name of their deployment."""
    assert main(["-r", "registry.example.org/team", "--models", "all", "-o", str(target), *arguments]) == 0
    return dict(workloads(load(target)))


def core(target: Path, *arguments: str) -> dict[str, Any]:
    return pods(target, "-f", CORE, *arguments)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    assert set(before) == set(after)
    return {name for name in before if before[name] != after[name]}


def test_new_passwords_replace_every_pod(tmp_path: Path) -> None:
    before = core(tmp_path / "core.yaml")
    assert changed(before, core(tmp_path / "core.yaml")) == set(), "kept passwords replace nothing"
    (tmp_path / "core.yaml").unlink()
    assert changed(before, core(tmp_path / "core.yaml")) == set(before)


def test_a_new_password_replaces_the_pods_that_have_it(tmp_path: Path) -> None:
    file = tmp_path / "core.yaml"
    before = core(file)
    token = next(each for each in load(file) if each["kind"] == "Secret")["stringData"]["gateway-token"]
    file.write_text(file.read_text().replace(token, "another-token-of-192-bits"))
    assert changed(before, core(file)) == {"Deployment/ei-gateway-server-deployment"}


def test_no_password_can_be_read_from_a_pod(tmp_path: Path) -> None:
    text = str(core(tmp_path / "core.yaml"))
    secret = next(each for each in load(tmp_path / "core.yaml") if each["kind"] == "Secret")["stringData"]
    assert not any(value in text for value in secret.values())


def test_a_users_own_type_is_the_same_when_it_is_generated_again(tmp_path: Path) -> None:
    """Its file has no passwords, so new passwords do not change it."""
    made = []
    for each in ("a", "b"):
        assert main(["-r", "x", "-t", "forklift", "-m", "x_FP32", "-a", "none", "-o", str(tmp_path / each)]) == 0
        made.append((tmp_path / each / "deployment.yaml").read_text())
    assert made[0] == made[1]


@pytest.mark.parametrize("setting", ["LOG_LEVEL=DEBUG", "MAX_FRAME_BYTES=8388608", "MAX_FRAME_AGE_S=3"])
def test_a_setting_replaces_every_pod_that_reads_it(setting: str, tmp_path: Path) -> None:
    services = {each for each in core(tmp_path / "core.yaml") if "redis" not in each}
    before = core(tmp_path / "core.yaml")
    assert changed(before, core(tmp_path / "core.yaml", "--set", setting)) >= services


def test_whatever_is_added_to_the_settings_replaces_the_pods(project: Path) -> None:
    def made() -> dict[str, Any]:
        arguments = ["-r", "x", "--models", "all", "-f", str(project / "kubernetes/elastic-inference.yaml.template")]
        assert main(arguments, project) == 0
        return dict(workloads(load(project / "kubernetes/elastic-inference.yaml")))

    before = made()
    part = project / "kubernetes" / "parts" / "settings.yaml.j2"
    part.write_text(part.read_text() + 'STREAM_QUEUE_DEPTH: "8"\n')
    assert changed(before, made()) == set(before) - {"Deployment/ei-redis-deployment"}
    settings = next(
        each for each in load(project / "kubernetes/elastic-inference.yaml") if name_of(each) == "ConfigMap/ei-settings"
    )
    assert settings["data"]["STREAM_QUEUE_DEPTH"] == "8"


def test_an_upgrade_leaves_redis_running(tmp_path: Path) -> None:
    before = core(tmp_path / "core.yaml", "-g", "1.0")
    after = core(tmp_path / "core.yaml", "-g", "1.1")
    assert changed(before, after) == set(before) - {"Deployment/ei-redis-deployment"}


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("docker.io/valkey/valkey:8.1", "8.1"),
        ("mirror.example:5000/valkey:8.1.4@sha256:" + "a" * 64, "8.1.4"),
        ("mirror.example:5000/valkey", ""),
    ],
)
def test_redis_carries_the_version_of_its_own_image(image: str, version: str, tmp_path: Path) -> None:
    made = core(tmp_path / "core.yaml", "--set", f"REDIS_IMAGE={image}")
    labels = made["Deployment/ei-redis-deployment"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == version
