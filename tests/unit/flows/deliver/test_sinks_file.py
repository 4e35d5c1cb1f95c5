"""SINKS_FILE: a file that comes later, as a Secret's does, and one that goes or breaks."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from elastic_inference.adapters.sinks.access import SinkAccess
from elastic_inference.domain.sink_spec import SinkError
from elastic_inference.flows.deliver.sinks_file import SinksFile, parse

SINKS = 'sinks: [{name: hook, kind: webhook, url: "https://example.org/events", token: hook.token}]\n'


def mount(folder: Path, version: str, files: dict[str, str]) -> None:
    """Changes the folder as a Secret's mount changes: links lead through `..data`, which is replaced."""
    (folder / version).mkdir()
    for name, text in files.items():
        (folder / version / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(version)
    (folder / "..new").replace(folder / "..data")
    for each in list(folder.iterdir()):
        if each.is_symlink() and not each.exists():
            each.unlink()
    for old in (each for each in list(folder.iterdir()) if each.is_dir() and not each.is_symlink()):
        if old.name != version:
            shutil.rmtree(old)


def test_a_file_that_is_not_there_yet_means_no_sinks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, access = SinksFile(tmp_path / "sinks.yaml"), SinkAccess(tmp_path, None)
    with caplog.at_level(logging.INFO):
        mount(tmp_path, "..1", {})
        for _ in range(3):
            file.refresh()
        assert (file.specs, file.problem) == ({}, "")
        assert caplog.text.count("read as soon as it is there") == 1
    mount(tmp_path, "..2", {"sinks.yaml": SINKS, "hook.token": "first"})
    file.refresh()
    assert (list(file.specs), file.problem) == (["hook"], "")
    assert access.secret("hook.token") == "first"
    mount(tmp_path, "..3", {"sinks.yaml": SINKS.replace("name: hook", "name: door"), "hook.token": "second"})
    file.refresh()
    assert (list(file.specs), file.problem) == (["door"], "")
    assert access.secret("hook.token") == "second"


def test_sinks_stay_when_their_file_goes(tmp_path: Path) -> None:
    mount(tmp_path, "..1", {"sinks.yaml": SINKS})
    file = SinksFile(tmp_path / "sinks.yaml")
    file.refresh()
    mount(tmp_path, "..2", {})
    file.refresh()
    assert list(file.specs) == ["hook"]
    assert "can't be read (No such file or directory); its sinks stay" in file.problem
    mount(tmp_path, "..3", {"sinks.yaml": "sinks: []"})
    file.refresh()
    assert (file.specs, file.problem) == ({}, "")


def test_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    file = SinksFile(tmp_path / "sinsk" / "sinks.yaml")
    file.refresh()
    assert "can't be read" in file.problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"sinks: []\n{SINKS}", "line 2: sinks: expected each key once, but line 1 has it too"),
        ("sinks:\n- name: hook\n  kind: log\n  name: door\n", "line 4: name: expected each key once"),
        ("sinks: [*a]", "line 1: expected no YAML alias"),
        ("sinks:\n- {kind: log, name: a-b/s3cret}\n", "sink number 1, name: "),
        ("sinks:\n- {kind: log, name: hook, a-s3cret: 1}\n", "sink hook, a key: there is no such field"),
    ],
)
def test_mistakes_are_named_without_what_may_be_a_secret(text: str, words: str) -> None:
    with pytest.raises(SinkError) as caught:
        parse(text.encode())
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)
