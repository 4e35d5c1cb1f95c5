"""What a running RTSP stream may be or become: interlaced, or of another size."""

from __future__ import annotations

import subprocess

import pytest

from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder, mean_grey
from elastic_inference.adapters.source.network import NetworkSource
from elastic_inference.domain.errors import SourceError
from tests.support.paff import moving_bars, paff
from tests.support.rtsp_plain import encode, rtsp_camera


def interlaced() -> bytes:
    """A second of interlaced H.264 (MBAFF)."""
    command = (
        "ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=20 -vf interlace -t 1 -c:v libx264 -preset ultrafast"
        " -threads 1 -bf 0 -g 5 -x264-params slices=1:repeat-headers=1:tff=1 -pix_fmt yuv420p -f h264 -"
    )
    return subprocess.run(command.split(), capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


def frames(video: bytes, count: int) -> tuple[list[tuple[int, int, float]], bool | None]:
    """(width, height, brightness) of the first frames that a camera delivers, and whether it is interlaced."""
    encoder, found = JpegEncoder(), []
    with rtsp_camera(video, 10) as port:
        source = NetworkSource(f"rtsp://127.0.0.1:{port}/live", 20.0, "tcp")
        try:
            for _ in range(count):
                source.grab(lambda: None)
                data, width, height = encoder.encode(source.retrieve())
                found.append((width, height, mean_grey(data)))
            return found, source.facts().interlaced
        finally:
            source.close()


def test_an_interlaced_camera_is_deinterlaced_and_never_black() -> None:
    found, is_interlaced = frames(interlaced(), 8)
    assert is_interlaced
    assert {(width, height) for width, height, _ in found} == {(320, 240)}
    assert min(brightness for *_, brightness in found) > 60


def test_a_camera_that_sends_each_field_alone_is_deinterlaced() -> None:
    # The video is repeated: each turn has 12 frames of two pictures.
    found, is_interlaced = frames(paff(moving_bars(12)), 8)
    assert is_interlaced
    assert {(width, height) for width, height, _ in found} == {(128, 96)}
    assert min(brightness for *_, brightness in found) > 60


def test_a_size_that_changes_in_the_running_stream_is_followed() -> None:
    found, _ = frames(encode(1, 10, 5) + encode(1, 10, 5, "640x480"), 24)
    assert {(width, height) for width, height, _ in found} == {(320, 240), (640, 480)}
    assert min(brightness for *_, brightness in found) > 60


@pytest.mark.parametrize("clock", [90000, 0, -90000])
def test_key_frames_are_as_far_apart_as_they_come_whatever_the_clock_of_the_camera_says(clock: int) -> None:
    with rtsp_camera(encode(1, 10, 5), 10, clock=clock) as port:
        source = NetworkSource(f"rtsp://127.0.0.1:{port}/live", 20.0, "tcp")
        for _ in range(9):
            source.grab(lambda: None)
        found = source.facts().key_frame_s
        source.close()
    assert found is not None
    assert 0.05 < found < 5, "half a second, on a machine that is not busy"


def test_a_camera_that_refuses_its_sound_is_shown() -> None:
    with rtsp_camera(encode(1, 10, 5), 10, sound="refused") as port:
        source = NetworkSource(f"rtsp://127.0.0.1:{port}/live", 20.0, "tcp")
        source.grab(lambda: None)
        source.close()


def test_a_camera_with_sound_alone_is_named() -> None:
    with rtsp_camera(encode(1, 10, 5), 10, sound="alone") as port, pytest.raises(SourceError) as caught:
        NetworkSource(f"rtsp://127.0.0.1:{port}/live", 20.0)
    assert "has no video: it holds only audio: look for another path" in str(caught.value)


@pytest.mark.parametrize(("second", "said"), [("none", "closed the connection."), ("silence", "not answer in time")])
def test_a_camera_that_does_not_begin_to_send_is_named(second: str, said: str) -> None:
    with rtsp_camera(encode(1, 10, 5), 10, second=second) as port, pytest.raises(SourceError, match=said):
        NetworkSource(f"rtsp://127.0.0.1:{port}/live", 1.0, "tcp")
