"""A camera whose frame never ends: FFmpeg would collect it in memory until there is none left."""

from __future__ import annotations

import subprocess
import sys

import pytest

from elastic_inference.adapters.source import unfinished
from elastic_inference.adapters.source.camera import open_camera
from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.domain.errors import SourceError
from tests.support.fixed_answer import HEAD, serving
from tests.support.rtsp_plain import encode, rtsp_camera

BEGIN_OF_A_KEY_FRAME = b"\0\0\0\1\x65\x88"
WHY = "without a complete frame"


def opened(url: str) -> Source:
    """As a source worker opens a camera of the pool."""
    settings = load(CameraSettings, {"CAMERA": url, "CAMERA_NETWORKS": "127.0.0.1", "CAMERA_TRANSPORT": "tcp"})
    return open_camera(settings, settings.address_rules)


def read_on(source: Source, frames: int) -> None:
    try:
        for _ in range(frames):
            source.grab(lambda: None)
    finally:
        source.close()


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "MAX_UNFINISHED_BYTES", 1 << 20)


def test_over_http_it_ends_in_an_error() -> None:
    good = encode(1, 10, 5)
    body = good + BEGIN_OF_A_KEY_FRAME + b"\x55" * (3 << 20)
    with serving(HEAD % (b"200 OK", b"Content-Type: video/h264\r\n") + body) as camera:
        source = opened(f"http://127.0.0.1:{camera.port}/live")
        with pytest.raises(SourceError, match=WHY):
            read_on(source, 1000)


def test_over_rtsp_it_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with rtsp_camera(encode(1, 10, 5) + BEGIN_OF_A_KEY_FRAME + b"\x55" * (2 << 20), 10) as port:
        source = opened(f"rtsp://127.0.0.1:{port}/live")
        with pytest.raises(SourceError, match=WHY):
            read_on(source, 100)


def test_a_stream_of_many_frames_is_read_on() -> None:
    # Each frame is far below the limit, all of them together are over it.
    with rtsp_camera(encode(2, 40, 1, "640x480"), 40) as port:
        read_on(opened(f"rtsp://127.0.0.1:{port}/live"), 80)


READ = """
import io, sys
from elastic_inference.adapters.source.container import Container

def peak_mb():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024

data = io.BytesIO(sys.stdin.buffer.read())
before = peak_mb()
container = Container(data, "The camera", format_name="h264", max_pixels=1_000_000)
frames = 0
while container.read(lambda: None) is not None:
    frames += 1
print(frames, peak_mb() - before)
"""


def test_where_ffmpeg_connects_itself_it_takes_little_memory() -> None:
    """UDP, RTP, HLS and RTSP without the pool's checks: FFmpeg's parser collects the frame."""
    endless = encode(1, 10, 5) + BEGIN_OF_A_KEY_FRAME + b"\x55" * (200 << 20)
    # In a process of its own, since the peak of this one is higher.
    done = subprocess.run([sys.executable, "-c", READ], input=endless, capture_output=True, check=True, timeout=120)
    frames, grown_mb = map(int, done.stdout.split())
    assert frames >= 9
    assert grown_mb < 100
