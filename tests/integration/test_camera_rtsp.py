"""RTSP against a real server (GStreamer's), and USB as far as it can be tested without a camera."""

from __future__ import annotations

import pytest
import simplejpeg

from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.adapters.source.network import NetworkSource
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.errors import SourceError
from tests.conftest import missing_tool
from tests.support.ports import free_port
from tests.support.producer import ProducerUnderTest
from tests.support.rtsp_server import RtspServer, available
from tests.support.waiting import busy, wait_for


@pytest.fixture(scope="module", autouse=True)
def _gstreamer() -> None:
    if not available():
        missing_tool("GStreamer's RTSP server (Debian: gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-*)")


def ignore() -> None:
    pass


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_frames_arrive(codec: str) -> None:
    with RtspServer(free_port(), codec=codec) as server:
        source = NetworkSource(server.url, 20)
        for _ in range(3):
            source.grab(ignore)
        data, width, height = JpegEncoder().encode(source.retrieve())
        assert (width, height) == (320, 240)
        pixels = simplejpeg.decode_jpeg(data, "BGR")
        # The test image: a white ball on black.
        assert pixels.max() > 200
        assert pixels.mean() < 60
        source.close()


def test_logins_and_missing_streams() -> None:
    with RtspServer(free_port(), user="bob", password="s3cr3t") as server:
        source = NetworkSource(server.url.replace("//", "//bob:s3cr3t@"), 20)
        source.grab(ignore)
        source.close()
        for url, why in (
            (server.url, r"\(401\)"),
            (server.url.replace("//", "//bob:wr0ng@"), r"\(401\)"),
            (server.url.replace("//", "//bob:s3cr3t@") + "-not?key=s3cr3t", r"\(404\)"),
            (f"rtsp://bob:s3cr3t@127.0.0.1:{free_port()}/x", "refuses the connection"),
            ("rtsp://bob:s3cr3t@no-such-host.invalid/x", "unknown host name"),
        ):
            with pytest.raises(SourceError, match=why) as caught:
                NetworkSource(url, 10)
            assert not any(secret in str(caught.value) for secret in ("s3cr3t", "wr0ng", "bob"))


def test_a_camera_that_dies_returns_and_freezes(valkey: EmbeddedValkey) -> None:
    server = RtspServer(free_port(), user="bob", password="s3cr3t")
    camera = server.url.replace("//", "//bob:s3cr3t@")
    with ProducerUnderTest("camera", valkey, {"CAMERA": camera, "SOURCE_STALL_S": "2", "CAMERA_FPS": "5"}) as gate:
        # Started before the camera is there: it waits for it.
        gate.wait_state("reconnecting")
        with server:
            gate.service.wait_ready()
            first = gate.wait_state("live")
            (frame, *_) = gate.frames(1)
            assert (frame.width, frame.height) == (320, 240)
            assert simplejpeg.decode_jpeg(frame.data, "BGR").max() > 200
            assert frame.age_ms < 5000

            server.kill()
            gate.wait_state("reconnecting")
            server.start()
            again = gate.wait_state("live")
            reopened = int(again["reconnects"]) - int(first["reconnects"])
            # On a busy machine a camera's first frame can take longer than SOURCE_STALL_S. Then it is opened once more.
            assert reopened == 1 or (reopened > 1 and gate.service.metric("ei_source_stalls_total"))

            server.freeze()
            gate.wait_state("stalled")
            stalled = wait_for(lambda: gate.service.metric("ei_source_stalls_total"), what="a stall in the metrics")
            assert stalled >= 1
            server.thaw()
            gate.wait_state("live", timeout_s=60)

            server.freeze()
            gate.wait_state("stalled")
            # A read that hangs must not hold up the end.
            shown = gate.everything()
            assert gate.service.terminate(timeout_s=10 * busy()) == 0
        assert "s3cr3t" not in shown + gate.service.log()
        assert f"rtsp://127.0.0.1:{server.port}/stream" in shown


def test_a_usb_camera_that_is_not_there_is_waited_for(valkey: EmbeddedValkey) -> None:
    with ProducerUnderTest("camera", valkey, {"CAMERA": "213"}) as gate:
        gate.wait_state("reconnecting")
        wait_for(lambda: "/dev/video213 does not exist" in gate.service.log(), what="a line that names the device")
        assert "Traceback" not in gate.service.log()
        assert gate.service.metric("ei_source_up") == 0
        assert gate.service.terminate() == 0


@pytest.mark.parametrize("camera", ["ftp://bob:s3cr3t@camera/video", "rtsp:///stream"])
def test_a_wrong_camera_setting_stops_the_service(valkey: EmbeddedValkey, camera: str) -> None:
    with ProducerUnderTest("camera", valkey, {"CAMERA": camera}) as gate:
        assert gate.service.process is not None
        assert gate.service.process.wait(60) == 2
        lines = gate.service.log().strip().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: CAMERA=")
        assert "s3cr3t" not in lines[0]
