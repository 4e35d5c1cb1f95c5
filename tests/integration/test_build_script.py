"""container/build.sh with an engine that only records its calls; test-cluster builds the real images."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from elastic_inference import __version__
from tests.support.build_script import Builder
from tests.support.manifests import PROJECT

IMAGES = (
    "ei-camera-stream-service",
    "ei-file-stream-service",
    "ei-inference-service",
    "ei-websocket-server",
    "ei-gateway-server",
    "ei-event-service",
)


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path, ("podman",))


def test_all_images_are_built_published_and_summed_up(builder: Builder) -> None:
    done = builder.run("-r", "registry.example.org/team", "-g", "1.5", "-m", "none")
    assert done.returncode == 0, done.stderr
    built = builder.calls("podman", "build")
    assert [call[call.index("-t") + 1] for call in built] == [
        f"registry.example.org/team/{each}:1.5" for each in IMAGES
    ]
    assert [call[-1] for call in builder.calls("podman", "push")] == [
        f"registry.example.org/team/{each}:1.5" for each in IMAGES
    ]
    assert "[6/6] ei-event-service: publishing to registry.example.org/team" in done.stdout
    assert done.stdout.count("237 MB") == 6
    assert not any("--tls-verify=false" in call for call in builder.calls("podman", "push"))


def test_the_default_tag_is_the_projects_version(builder: Builder) -> None:
    builder.run("-r", "localhost:5000", "-c", "wss", "-a", "build")
    (call,) = builder.calls("podman", "build")
    assert call[call.index("-t") + 1] == f"localhost:5000/ei-websocket-server:{__version__}"
    assert not builder.calls("download-models.sh"), "only the inference image has models"


def test_a_registry_on_loopback_needs_no_certificate(builder: Builder) -> None:
    builder.run("-r", "localhost:5000", "-c", "css", "-m", "none")
    assert all("--tls-verify=false" in call for call in builder.calls("podman", "push"))


def test_settings_of_the_network_and_the_engine_are_passed_on(builder: Builder) -> None:
    proxies = {"http_proxy": "http://p:1", "no_proxy": "x"}
    given = {**proxies, "PIP_INDEX_URL": "https://i/s", "NPM_CONFIG_REGISTRY": "https://n"}
    builder.run("-r", "r.example", "-c", "gws", "-a", "build", EI_ENGINE_ARGS="--network host -v /a:/b:ro", **given)
    (call,) = builder.calls("podman", "build")
    for name, value in given.items():
        assert f"{name}={value}" in call
    assert call[2:6] == ["--network", "host", "-v", "/a:/b:ro"]
    assert not any(part.startswith("https_proxy") for part in call)


def test_the_base_image_and_additional_packages_can_be_chosen(builder: Builder) -> None:
    builder.run(
        "-r",
        "r.example",
        "-a",
        "build",
        "-m",
        "none",
        BASE_IMAGE="mirror/debian:13",
        EXTRA_PACKAGES="intel-opencl-icd ocl-icd-libopencl1",
    )
    calls = builder.calls("podman", "build")
    assert all("BASE_IMAGE=mirror/debian:13" in call for call in calls)
    assert [any("EXTRA_PACKAGES=intel-opencl-icd ocl-icd-libopencl1" in part for part in call) for call in calls] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


def test_save_writes_one_archive_an_image(builder: Builder) -> None:
    done = builder.run("-r", "r.example", "-a", "save", "-c", "gws", "-g", "1.0")
    assert done.returncode == 0, done.stderr
    (call,) = builder.calls("podman", "save")
    assert call[call.index("-o") + 1] == "container/save/ei-gateway-server-1.0.tar"
    assert "container/save/" in done.stdout


def test_several_platforms_become_a_manifest_list(builder: Builder) -> None:
    done = builder.run("-r", "r.example", "-c", "wss", "-g", "1", "-p", "linux/amd64,linux/arm64")
    assert done.returncode == 0, done.stderr
    (build,) = builder.calls("podman", "build")
    assert build[build.index("--manifest") + 1] == "r.example/ei-websocket-server:1"
    assert builder.calls("podman", "manifest", "push", "--all")


def test_several_platforms_with_docker_go_through_buildx(tmp_path: Path) -> None:
    builder = Builder(tmp_path, ("docker",))
    assert builder.run("-r", "r.example", "-c", "wss", "-g", "1", "-p", "linux/amd64,linux/arm64").returncode == 0
    assert any("--push" in call for call in builder.calls("docker", "buildx", "build"))


def test_every_build_through_buildx_has_the_additional_packages(tmp_path: Path) -> None:
    builder = Builder(tmp_path, ("docker",))
    given = ("-r", "r.example", "-c", "ois", "-p", "linux/amd64,linux/arm64")
    assert builder.run(*given, EXTRA_PACKAGES="drivers").returncode == 0
    assert builder.run(*given, "-a", "save", EXTRA_PACKAGES="drivers").returncode == 0
    calls = builder.calls("docker", "buildx", "build")
    assert len(calls) == 3
    assert all("EXTRA_PACKAGES=drivers" in call for call in calls)
    # what one platform builds must land where the push looks
    assert builder.run("-r", "r.example", "-c", "wss", "-p", "linux/arm64").returncode == 0
    assert "--load" in builder.calls("docker", "buildx", "build")[-1]


def test_the_first_engine_that_answers_is_taken(tmp_path: Path) -> None:
    builder = Builder(tmp_path, ("docker", "podman"))
    done = builder.run("-r", "r.example", "-c", "css", "-a", "build", DEAF="1")
    assert "docker does not answer" in done.stdout
    assert builder.calls("podman", "build")
    assert builder.run("-r", "r.example", "-c", "css", "-a", "build").returncode == 0
    assert builder.calls("docker", "build")


def test_a_folder_of_models_is_taken_as_it_is_with_a_warning_where_it_differs(builder: Builder, tmp_path: Path) -> None:
    models = tmp_path / "models" / "mine" / "FP32"
    models.mkdir(parents=True)
    (models / "mine.xml").write_text("<net/>")
    done = builder.run("-r", "r.example", "-a", "build", "-c", "ois", "-m", str(tmp_path / "models"))
    assert done.returncode == 0, done.stderr
    assert (builder.project / "build/models/mine/FP32/mine.xml").read_text() == "<net/>"
    assert "warning: mine/FP32/mine.xml differs from the catalogue's file" in done.stdout
    assert "models in the inference image: face/face.xml mine/FP32/mine.xml" in done.stdout
    assert ["download-models.sh", "--embedded", "-o", "build/models"] in builder.calls("download-models.sh")


def test_each_build_collects_its_models_again(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.onnx").write_text("net")
    where = os.path.relpath(tmp_path / "mine")  # from the caller's folder, not the project's
    alone = {"OFFLINE": "1", "NO_WHEELS": "1"}
    assert builder.run("-r", "r.example", "-a", "build", "-c", "ois", "-m", where, **alone).returncode == 0
    inside = builder.project / "build" / "models"
    assert [path.name for path in inside.iterdir()] == ["mine.onnx"]
    refused = builder.run("-r", "r.example", "-a", "build", "-c", "ois", "-m", str(inside))
    assert refused.returncode == 2
    assert "is emptied by each build" in refused.stderr
    assert [path.name for path in inside.iterdir()] == ["mine.onnx"], "a refused build must leave its files alone"
    assert builder.run("-r", "r.example", "-a", "build", "-c", "ois").returncode == 0
    assert [path.name for path in inside.iterdir()] == ["face"]
    assert builder.run("-r", "r.example", "-a", "build", "-c", "ois", "-m", "none").returncode == 0
    # gen-k8s-yaml.sh must see that an image without models was built
    assert [path.name for path in inside.iterdir()] == [".none"]


def test_models_come_from_the_download_or_a_mirror(builder: Builder) -> None:
    builder.run("-r", "r.example", "-a", "build", "-c", "ois")
    assert builder.calls("download-models.sh") == [["download-models.sh", "--defaults", "-o", "build/downloads/models"]]
    builder.run("-r", "r.example", "-a", "build", "-c", "ois", "-m", "https://mirror.example/m")
    assert "https://mirror.example/m" in builder.calls("download-models.sh")[-1]


def test_a_fresh_clone_is_installed_once_for_its_downloads(builder: Builder) -> None:
    builder.run("-r", "r.example", "-a", "build", "-c", "wss")
    builder.run("-r", "r.example", "-a", "build", "-c", "ois", "-m", "none")
    assert builder.calls("make") == []
    done = builder.run("-r", "r.example", "-a", "build", "-c", "ois")
    assert "make install" in done.stdout
    assert "models in the inference image: face/face.xml" in done.stdout
    builder.run("-r", "r.example", "-a", "build", "-c", "fss")
    assert builder.calls("make") == [["make", "--no-print-directory", "install"]]


def test_models_that_cant_be_fetched_are_a_warning(builder: Builder) -> None:
    done = builder.run("-r", "r.example", "-a", "build", "-c", "ois", OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert "their types get an embedded model, or are left out" in done.stdout
    refused = builder.run("-r", "r.example", "-a", "build", "-c", "ois", "-m", "https://mirror.example/m", OFFLINE="1")
    assert refused.returncode == 1
    assert "can't be fetched from https://mirror.example/m" in refused.stderr


@pytest.mark.parametrize("component", ["ois", "fss"])
def test_a_failed_installation_ends_the_build(builder: Builder, component: str) -> None:
    done = builder.run("-r", "r.example", "-c", component, BROKEN="1", OFFLINE="1", NO_WHEELS="1")
    assert done.returncode == 1
    assert done.stderr.startswith("build: 'make install' failed")
    assert len(done.stderr.splitlines()) == 1
    assert not builder.calls("podman", "build")


def test_an_interrupted_installation_is_completed_first(builder: Builder) -> None:
    (builder.project / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(builder.project / "tools" / "download-models.sh", builder.project / ".venv/bin/ei-download-models")
    assert builder.run("-r", "r.example", "-a", "build", "-c", "ois").returncode == 0
    assert len(builder.calls("make")) == 1


@pytest.mark.parametrize("folder", [False, True])
def test_no_image_is_built_without_a_single_model(builder: Builder, folder: bool, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given = ("-m", str(tmp_path / "empty")) if folder else ()
    done = builder.run("-r", "r.example", "-c", "ois", *given, OFFLINE="1", NO_WHEELS="1")
    assert done.returncode == 1
    assert "there is not a single model for the inference image" in done.stderr
    assert not builder.calls("podman", "build")
    assert builder.run("-r", "r.example", "-c", "ois", "-m", "none", OFFLINE="1").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "-r REGISTRY is required"),
        (["-r", "https://x"], "expected a registry without http://"),
        (["-r", "x", "-a", "ship"], "-a ship: expected build, publish, save or all"),
        (["-r", "x", "-c", "web"], "-c web: expected css, fss, ois, wss, gws, evs or all"),
        (["-r", "x", "-g", "latest"], "a tag that moves can't be rolled back"),
        (["-r", "x", "-g", "a b"], "-g a b: expected letters"),
        (["-r", "x", "-e", "kaniko"], "-e kaniko: expected docker, podman or buildah"),
        (["-r", "x", "-p", "arm"], "-p arm: expected a list such as"),
        (["-r", "x", "-m", "/nowhere"], "-m /nowhere: expected a folder, a URL or none"),
        (["-r", "x", "-z"], "unknown option -z"),
        (["-r"], "-r needs a value"),
        (["-r", "x", "more"], "unexpected argument 'more'"),
    ],
)
def test_a_wrong_option_is_one_line(builder: Builder, arguments: list[str], message: str) -> None:
    done = builder.run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not builder.calls("podman", "build")


def test_without_an_engine_it_names_the_supported_ones(tmp_path: Path) -> None:
    builder = Builder(tmp_path, ())
    done = builder.run("-r", "x")
    assert done.returncode == 1
    assert "no engine found: install docker, podman or buildah" in done.stderr
    assert "podman is not installed" in builder.run("-r", "x", "-e", "podman").stderr


def test_a_registry_that_refuses_says_how_to_log_in(builder: Builder) -> None:
    done = builder.run("-r", "r.example/team", "-c", "css", REFUSE="unauthorized: authentication required")
    assert done.returncode == 1
    assert "log in first with 'podman login r.example'" in done.stderr


def test_a_failed_build_shows_its_end_and_where_all_of_it_is(builder: Builder) -> None:
    done = builder.run("-r", "r.example", "-c", "css", BREAK="no space left on device")
    assert done.returncode == 1
    assert "no space left on device" in done.stderr
    assert "build/logs/ei-camera-stream-service.build.log" in done.stderr


def test_publishing_an_image_that_was_not_built_is_refused(builder: Builder) -> None:
    done = builder.run("-r", "r.example", "-a", "publish", "-c", "css", ABSENT="1")
    assert "is not on this machine: build it first" in done.stderr


def test_buildah_publishes_what_it_built_and_shows_the_size(tmp_path: Path) -> None:
    builder = Builder(tmp_path, ("buildah",))
    done = builder.run("-r", "r.example", "-a", "publish", "-c", "css")
    assert done.returncode == 0, done.stderr
    assert "136 MB" in done.stdout


def test_help_names_every_option(builder: Builder) -> None:
    text = builder.run("-h").stdout
    for option in ("-r", "-a", "-c", "-g", "-e", "-p", "-m", "-v", "-h", "EI_ENGINE_ARGS"):
        assert option in text


@pytest.mark.parametrize("image", IMAGES)
def test_a_dockerfile_is_non_root_labelled_checked_and_pinned(image: str) -> None:
    text = (PROJECT / "container" / f"{image}.Dockerfile").read_text()
    assert text.count("ARG BASE_IMAGE=docker.io/library/debian:trixie-slim") == 1
    assert all(line.split()[1] in ("${BASE_IMAGE}", "scratch") for line in text.splitlines() if line.startswith("FROM"))
    final = text.rpartition("FROM scratch")[2]
    assert "USER 10001:10001" in final
    assert "HEALTHCHECK" in final
    assert "org.opencontainers.image.version" in final
    entry = next(line for line in final.splitlines() if line.startswith("ENTRYPOINT")).removeprefix("ENTRYPOINT ")
    assert json.loads(entry) == [image]


def test_every_lock_pins_each_package_with_hashes_and_names_no_host() -> None:
    for lock in (PROJECT / "container" / "locks").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text, lock.name
        pinned = [line for line in text.splitlines() if line and line[0].isalpha()]
        assert pinned
        assert all("==" in line for line in pinned)
        assert text.count("--hash=sha256:") >= len(pinned)
    websocket = (PROJECT / "container" / "locks" / "websocket.txt").read_text()
    assert "openvino" not in websocket
