"""The probe command on real sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.mjpeg_server import MjpegServer
from tests.support.ports import free_port
from tests.support.rtsp_plain import encode, rtsp_camera
from tests.support.videos import write_video


def probe(camera: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command with the camera in the environment, as its help advises."""
    return subprocess.run(
        [sys.executable, "-m", "elastic_inference.commands.camera_probe", "-s", "1", *arguments],
        env={**os.environ, "CAMERA": camera, "SOURCE_STALL_S": "5"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_an_rtsp_camera_is_described_in_about_ten_lines() -> None:
    with rtsp_camera(encode(4, 10, 10), 10) as port:
        done = probe(f"rtsp://bob:s3cr3t@127.0.0.1:{port}/live?key=s3cr3t")
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    for part in (
        *("transport: RTSP over TCP", "codec: h264", "size: 320x240", "key frames: 1 s apart", "interlaced: no"),
        "pixel format: yuv420p, BT.601 (not stated), limited range",
        *("login: accepted", "first frame: 320x240, brightness", "decoded and encoded as JPEG", "ms of CPU per frame"),
    ):
        assert part in shown, shown
    assert "black" not in shown
    assert len(shown.splitlines()) <= 14
    assert "s3cr3t" not in shown + done.stderr
    assert "bob" not in shown + done.stderr


def test_an_mjpeg_camera_passes_through() -> None:
    with MjpegServer(fps=20) as server:
        done = probe(server.url)
    assert done.returncode == 0, done.stderr
    assert "passed through as the camera made it" in done.stdout
    assert "login: none was given" in done.stdout


def test_a_dark_file_is_called_dark_and_its_rate_is_the_stated_one(tmp_path: Path) -> None:
    video = write_video(tmp_path / "dark film.mp4", 1, codec="mpeg4")
    assert " expected a video file" in probe(str(tmp_path / "none.mp4")).stderr
    done = probe(video.as_uri())  # as the pool's cameras name it
    assert done.returncode == 0, done.stderr
    assert "almost black" in done.stdout
    assert "rate: 10 fps stated" in done.stdout


def test_a_source_that_cannot_be_opened_ends_with_one_line(tmp_path: Path) -> None:
    done = probe(f"rtsp://bob:s3cr3t@127.0.0.1:{free_port()}/x")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "refuses the connection" in done.stderr
    assert probe("ftp://x/y").returncode == 2
    assert probe("").returncode == 2
