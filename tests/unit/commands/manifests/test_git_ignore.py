"""Files with secrets that are written into a user's git repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import missing_tool

from elastic_inference.commands.manifests.git_ignore import keep_from_git


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        missing_tool("git")
    git(tmp_path, "init", "-q")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


@pytest.mark.parametrize("name", ["core.yaml", "a b [1]*.yaml", "#odd.yaml", "!odd.yaml"])
def test_git_does_not_see_a_file_with_secrets(repository: Path, name: str) -> None:
    file = repository / "site" / name
    file.parent.mkdir()
    file.write_text("secret")
    (file.parent / "core.yaml.txt").write_text("no secret")
    note = keep_from_git(file)
    assert note.endswith(f".gitignore now names {name}, so that git leaves its secrets alone")
    seen = git(repository, "-c", "core.quotePath=false", "status", "--porcelain", "-uall", "-z").split("\0")
    assert sorted(filter(None, seen)) == ["?? site/.gitignore", "?? site/core.yaml.txt"]
    assert keep_from_git(file) == ""
    assert len((file.parent / ".gitignore").read_text().splitlines()) == 1


def test_what_the_file_of_ignored_names_says_already_stays(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.log")
    keep_from_git(repository / "core.yaml")
    assert (repository / ".gitignore").read_text() == "*.log\n/core.yaml\n"


def test_an_ignored_file_needs_nothing(repository: Path) -> None:
    (repository / ".gitignore").write_text("*.yaml\n")
    (repository / "site").mkdir()
    assert keep_from_git(repository / "site" / "core.yaml") == ""
    assert not (repository / "site" / ".gitignore").exists()


def test_a_tracked_file_is_a_warning(repository: Path) -> None:
    (repository / "core.yaml").write_text("secret")
    git(repository, "add", "core.yaml")
    assert "git rm --cached" in keep_from_git(repository / "core.yaml")


def test_outside_a_repository_nothing_is_written(tmp_path: Path) -> None:
    assert keep_from_git(tmp_path / "core.yaml") == ""
    assert list(tmp_path.iterdir()) == []


def test_without_git_the_name_is_written_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "now names" in keep_from_git(repository / "core.yaml")
    assert keep_from_git(repository / "core.yaml") == ""


def test_a_file_of_ignored_names_that_cannot_be_written_is_a_warning(repository: Path) -> None:
    (repository / ".gitignore").mkdir()
    assert keep_from_git(repository / "core.yaml").startswith("warning: keep ")
