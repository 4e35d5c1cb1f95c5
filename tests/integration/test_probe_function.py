"""Probing as a function, as the services call it."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from pydantic import TypeAdapter

from elastic_inference.adapters.source.probe import probe_camera
from elastic_inference.domain.errors import SettingError, SourceError
from elastic_inference.domain.probe_report import ProbeReport
from tests.support.mjpeg_server import MjpegServer
from tests.support.ports import free_port
from tests.support.rtsp_plain import encode, rtsp_camera


def test_a_camera_is_reported_with_numbers() -> None:
    with rtsp_camera(encode(4, 10, 10), 10) as port:
        url = f"rtsp://old:login@127.0.0.1:{port}/live?key=s3cr3t"
        found = probe_camera(url, user="b@b", password="p/w", transport="tcp", watch_s=1.5)
    assert found.camera == f"rtsp://127.0.0.1:{port}/live"
    assert (found.transport, found.codec, found.profile) == ("RTSP over TCP", "h264", "Constrained Baseline")
    assert (found.width, found.height, found.stated_fps) == (320, 240, 10)
    assert found.fps == pytest.approx(10, abs=4)
    assert found.key_frame_s == pytest.approx(1, abs=0.1)
    assert (found.interlaced, found.login, found.passes_through) == (False, True, False)
    assert found.pixel_format == "yuv420p"
    assert found.colours == "BT.601 (not stated), limited range"
    assert 60 < found.brightness < 200
    assert found.jpeg_bytes > 1000
    assert found.cpu_ms > 0
    assert found.core_share == pytest.approx(found.used_fps * found.cpu_ms / 1000)
    assert found.warnings == ()
    reader = TypeAdapter(ProbeReport)
    assert reader.validate_json(reader.dump_json(found)).codec == "h264"


def test_key_frames_that_are_too_far_apart_to_be_seen_twice_are_said() -> None:
    with rtsp_camera(encode(8, 10, 80), 10) as port:
        found = probe_camera(f"rtsp://127.0.0.1:{port}/live", transport="tcp", watch_s=2.5)
    assert found.key_frame_s is None
    assert [each.partition(":")[0] for each in found.warnings] == ["Key frames are more than 2 s apart"]


def test_a_camera_that_makes_jpegs_itself() -> None:
    with MjpegServer(fps=20) as server:
        found = probe_camera(server.url, fps=5, watch_s=1)
    assert (found.transport, found.passes_through, found.interlaced, found.login) == ("HTTP", True, None, False)
    assert found.used_fps == pytest.approx(5)


def test_a_silent_camera_ends_at_the_limit() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"rtsp://bob:s3cr3t@127.0.0.1:{listener.getsockname()[1]}/live"
        began = time.monotonic()
        with pytest.raises(SourceError) as caught:
            probe_camera(url, limit_s=1.0)
        assert time.monotonic() - began < 7.5
    assert "did not deliver a frame within 1 s." in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("url", ["/etc/passwd", "file:///etc/passwd", "ftp://host/x", ""])
def test_a_file_is_never_opened(url: str) -> None:
    with pytest.raises(SettingError) as caught:
        probe_camera(url, user="bob", password="s3cr3t")
    assert "s3cr3t" not in str(caught.value)


def test_other_arguments_that_are_not_accepted() -> None:
    with pytest.raises(SettingError, match="CAMERA_TRANSPORT"):
        probe_camera("rtsp://host/x", transport="smoke signals")
    with pytest.raises(SettingError, match="CAMERA_FINGERPRINT"):
        probe_camera("rtsps://host/x", certificate="sha256:12")


def test_a_closed_port_has_its_sentence_and_no_thread_stays() -> None:
    with pytest.raises(SourceError, match="refuses the connection"):
        probe_camera(f"rtsp://127.0.0.1:{free_port()}/x")
    assert not [each for each in threading.enumerate() if each.name == "probe" and each.is_alive()]
