"""The images of an elasticity run: those of the newest build, although a node keeps older ones of the same tag."""

from __future__ import annotations

from pathlib import Path

from tests.elasticity.cluster import digests_of

REGISTRY, TAG = "localhost:5000", "0.1.0"


def test_only_images_of_this_registry_and_tag_have_a_digest(tmp_path: Path) -> None:
    file = tmp_path / "digests.txt"
    file.write_text(
        "localhost:5000/ei-inference-service:0.1.0 sha256:aa\n"
        "localhost:5000/ei-inference-service:0.2.0 sha256:bb\n"
        "registry.example/ei-inference-service:0.1.0 sha256:cc\n"
    )
    assert digests_of(file, REGISTRY, TAG) == {"localhost:5000/ei-inference-service:0.1.0": "sha256:aa"}


def test_without_a_build_no_image_has_one(tmp_path: Path) -> None:
    assert digests_of(tmp_path / "digests.txt", REGISTRY, TAG) == {}
