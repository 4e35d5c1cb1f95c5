"""container/build.sh keeps what it knows of the images: digests, for gen-k8s-yaml.sh, and bills of materials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.build_script import Builder


@pytest.mark.parametrize(
    ("engine", "platforms"),
    [("podman", ""), ("buildah", ""), ("docker", ""), ("podman", "a/b,c/d"), ("docker", "a/b,c/d")],
    ids=["podman", "buildah", "docker", "podman, two platforms", "docker, two platforms"],
)
def test_the_digest_of_what_was_published_is_kept(tmp_path: Path, engine: str, platforms: str) -> None:
    builder = Builder(tmp_path, (engine,))
    given = ("-r", "r.example/team", *(("-p", platforms) if platforms else ()))
    kept = builder.project / "build" / "digests.txt"
    # For several platforms, Docker writes the digest to a separate file.
    digest = "8" if engine == "docker" and platforms else "7"
    done = builder.run(*given, "-c", "wss", "-g", "1.5")
    assert done.returncode == 0, done.stderr
    assert kept.read_text() == f"r.example/team/ei-websocket-server:1.5 sha256:{int(digest):064}\n"
    assert "tools/gen-k8s-yaml.sh --digests build/digests.txt" in done.stdout
    builder.run(*given, "-c", "gws", "-g", "1.5")
    builder.run(*given, "-c", "wss", "-g", "1.5", DIGEST="9")
    names = [line.partition(" ")[0] for line in kept.read_text().splitlines()]
    assert names == ["r.example/team/ei-gateway-server:1.5", "r.example/team/ei-websocket-server:1.5"]
    if not platforms:
        assert kept.read_text().endswith("9\n"), "the newest digest replaces the former"


def test_an_engine_that_tells_no_digest_is_a_warning(tmp_path: Path) -> None:
    builder = Builder(tmp_path, ("docker",))
    builder.script(builder.bin / "docker", "exit 0")
    done = builder.run("-r", "r.example", "-c", "wss", "-g", "1.5")
    assert done.returncode == 0, done.stderr
    assert "warning: docker reports no digest of r.example/ei-websocket-server:1.5" in done.stdout
    assert "--digests build" not in done.stdout


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_the_bill_of_materials_is_copied_out_of_the_image(tmp_path: Path, engine: str) -> None:
    builder = Builder(tmp_path, (engine,))
    done = builder.run("-r", "r.example", "-c", "wss", "-g", "1.5", "-a", "build")
    assert done.returncode == 0, done.stderr
    assert (builder.project / "build/sbom/ei-websocket-server-1.5.cdx.json").read_text() == "{}\n"
    assert builder.calls(engine, "rm") == [[engine, "rm", "0123abc"]], "no container stays"
    assert "bills of materials: build/sbom" in done.stdout
