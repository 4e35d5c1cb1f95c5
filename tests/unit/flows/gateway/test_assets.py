"""The dashboard's files: which paths are served, and which are not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from elastic_inference.flows.gateway.assets import AssetFolder, accepts_gzip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "page"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<title>page</title>" * 100)
    (root / "assets" / "index-4f2a.js").write_text("x" * 2000)
    (root / "tiny.css").write_text("a{}")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    return root


def test_files_have_their_content_type_and_caching_headers(folder: Path) -> None:
    assets = AssetFolder(folder)
    script, index = assets.find("/assets/index-4f2a.js"), assets.find("/")
    assert script is not None
    assert index is not None
    assert (script.content_type, script.immutable) == ("text/javascript; charset=utf-8", True)
    assert (index.content_type, index.immutable) == ("text/html; charset=utf-8", False)
    assert script.compressed is not None
    assert gzip.decompress(script.compressed) == script.body == b"x" * 2000


def test_files_that_gzip_does_not_shrink_stay_uncompressed(folder: Path) -> None:
    tiny = AssetFolder(folder).find("/tiny.css")
    assert tiny is not None
    assert tiny.compressed is None


@pytest.mark.parametrize("path", ["/pool", "/compare", "/stream/gate-1.2:people:inferred", "/login/", "//pool"])
def test_routes_of_the_page_get_the_page(folder: Path, path: str) -> None:
    found = AssetFolder(folder).find(path)
    assert found is not None
    assert found.body.startswith(b"<title>page")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/..\\secret.txt",
        "/link.txt",
        "/secret.txt",
        "/assets/gone.js",
        "/assets/none",
        "/gone.js",
        "/.env",
        "/.git/config.json",
        "/metrics",
        "/readyz",
        "/api/none",
        "/a\0b.js",
        "/" + "x" * 5000 + ".js",
        "/etc/passwd.txt",
    ],
)
def test_other_paths_are_not_found(folder: Path, path: str) -> None:
    assert AssetFolder(folder).find(path) is None


def test_a_file_that_changed_is_read_again(folder: Path) -> None:
    assets = AssetFolder(folder)
    before = assets.find("/tiny.css")
    assert assets.find("/tiny.css") is before
    (folder / "tiny.css").write_text("a{color:red}")
    after = assets.find("/tiny.css")
    assert after is not None
    assert before is not None
    assert after.body == b"a{color:red}"
    assert after.etag != before.etag


@pytest.mark.parametrize(
    ("accept_encoding", "accepted"),
    [
        *(("gzip", True), ("br, GZIP;q=0.1", True), ("gzip;q=1.000", True), ("*", True), ("x-gzip", True)),
        *(("", False), ("br", False), ("identity", False), ("notgzip", False), ("gzipped", False)),
        *(("gzip;q=0", False), ("gzip; Q=0.000, *", False), ("br;q=1, gzip ; q=0", False), ("*;q=0", False)),
        *(("gzip;q=", False), ("gzip;q=nan", False), ("gzip;q=-1", False), ("gzip;q=2", False)),
    ],
)
def test_gzip_is_for_clients_that_take_it(accept_encoding: str, accepted: bool) -> None:
    assert accepts_gzip(accept_encoding) is accepted
