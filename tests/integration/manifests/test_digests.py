"""Images by digest: `--digests` with the file that build.sh leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from elastic_inference.commands.manifests.settings import SETTINGS
from tests.support.manifests import CORE, PROJECT, generate, load, workloads

REGISTRY = "registry.example.org/team"
OWN = (
    "camera-stream-service",
    "file-stream-service",
    "inference-service",
    "websocket-server",
    "gateway-server",
    "event-service",
)
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def digests(tmp_path: Path) -> Path:
    file = tmp_path / "digests.txt"
    ours = [f"{REGISTRY}/ei-{name}:1.5" for name in OWN]
    others = [value for name, value in SETTINGS.items() if name.endswith("_IMAGE")]
    lines = [f"{reference} {DIGEST}" for reference in (*ours, *others)]
    file.write_text("\n".join(["# as build.sh leaves them, and others", "", *lines]) + "\n")
    return file


def images(file: Path) -> set[str]:
    return {each["image"] for _, pod in workloads(load(file)) for each in pod["spec"]["containers"]}


@pytest.mark.parametrize(
    "what",
    [
        ("-f", str(PROJECT / CORE)),
        ("-f", str(PROJECT / "kubernetes/monitoring")),
        ("-t", "people", "-n", "gate-1", "-c", "a-secret"),
    ],
    ids=["core", "monitoring", "camera"],
)
def test_every_image_has_its_digest_and_keeps_its_tag(tmp_path: Path, digests: Path, what: tuple[str, ...]) -> None:
    folder = tmp_path / "out/"
    generate("-r", REGISTRY, "-g", "1.5", "--digests", str(digests), *what, "-o", f"{folder}/")
    found = {image for file in folder.glob("*.yaml") for image in images(file)}
    assert found
    for image in found:
        name, _, digest = image.partition("@")
        assert digest == DIGEST
        assert ":" in name


def test_an_image_without_its_digest_stops_the_generator(tmp_path: Path, digests: Path) -> None:
    digests.write_text(f"{REGISTRY}/ei-gateway-server:1.5 {DIGEST}\n")
    target = tmp_path / "core.yaml"
    said = generate(
        *("-r", REGISTRY, "-g", "1.5", "--digests", str(digests), "-f", str(PROJECT / CORE), "-o", str(target)),
        expect=2,
    )
    assert f"has no line for {SETTINGS['REDIS_IMAGE']}" in said
    assert not target.exists()
    given = f"REDIS_IMAGE={SETTINGS['REDIS_IMAGE']}@{DIGEST}"
    said = generate(
        *("-r", REGISTRY, "-g", "1.5", "--digests", str(digests), "-f", str(PROJECT / CORE), "--set", given), expect=2
    )
    assert f"has no line for {REGISTRY}/ei-" in said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x sha256:123\n", ":1: expected an image with its tag, and sha256:… after a space"),
        (None, "can't be read: No such file or directory"),
    ],
)
def test_a_file_of_digests_that_is_none_is_named(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "digests.txt"
    if text is not None:
        file.write_text(text)
    said = generate("-r", REGISTRY, "--digests", str(file), "--secret-only", "-o", str(tmp_path / "s.yaml"), expect=2)
    assert problem in said
