"""MJPEG over HTTP against a real server, through the source and through the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.adapters.source.http_client import HttpCamera
from elastic_inference.adapters.source.http_stream import open_http
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason, SourceError
from tests.support.bad_cameras import BadCamera
from tests.support.mjpeg_server import MjpegServer, make_jpeg
from tests.support.ports import free_port
from tests.support.producer import ProducerUnderTest
from tests.support.waiting import wait_for

MAX_BYTES = 200_000
SECRET = "s3cr3t-pässword"
SECRET_IN_URL = "s3cr3t-p%C3%A4ssword"


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer(fps=50) as server:
        yield server


def ignore() -> None:
    pass


def open_source(url: str, stall_s: float = 5, certificate: str | None = None) -> Source:
    return open_http(HttpCamera(url, stall_s, certificate), stall_s, 20, MAX_BYTES)


def next_jpeg(source: Source) -> bytes:
    source.grab(ignore)
    jpeg = source.retrieve().jpeg
    assert jpeg is not None
    return jpeg


def grab_all(source: Source) -> None:
    """Grabs frames until it fails."""
    for _ in range(1000):
        source.grab(ignore)


@pytest.mark.parametrize("mode", ["normal", "no_length", "wrong_boundary", "zero_length", "bare"])
def test_the_cameras_jpegs_are_unchanged(server: MjpegServer, mode: str) -> None:
    server.mode = mode
    source = open_source(server.url)
    found = [next_jpeg(source) for _ in range(5)]
    first = next(number for number in range(200) if make_jpeg(number) == found[0])
    assert all(jpeg in {make_jpeg(number) for number in range(first, first + 50)} for jpeg in found)
    source.close()


def test_silence_ends_in_an_error_in_time(server: MjpegServer) -> None:
    source = open_source(server.url, stall_s=0.5)
    next_jpeg(source)
    server.mode = "stall"
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"sent (nothing|no image) for 0.5 s"):
        grab_all(source)
    assert time.monotonic() - began < 10
    source.close()


def test_the_end_of_the_stream_is_reported(server: MjpegServer) -> None:
    source = open_source(server.url)
    next_jpeg(source)
    server.mode = "close"
    with pytest.raises(SourceError, match=r"has ended its stream|broke"):
        grab_all(source)
    source.close()


def test_an_oversize_image_is_counted_and_the_next_one_read(server: MjpegServer) -> None:
    server.mode = "oversize"
    source = open_source(server.url)
    source.grab(ignore)
    with pytest.raises(InvalidFrameError) as caught:
        source.retrieve()
    assert caught.value.reason is InvalidReason.TOO_LARGE
    server.mode = "normal"

    def good() -> bool:
        source.grab(ignore)
        try:
            return source.retrieve().jpeg is not None
        except InvalidFrameError:
            return False

    wait_for(good, what="an image that fits")
    source.close()


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("garbage", "no JPEG image|sent no image"),
        ("plain", r"answers with a page \(text/html\)"),
    ],
)
def test_data_that_is_not_mjpeg_is_an_error(server: MjpegServer, mode: str, why: str) -> None:
    server.mode = mode

    def read() -> None:
        source = open_source(server.url, stall_s=1)
        try:
            grab_all(source)
        finally:
            source.close()

    with pytest.raises(SourceError, match=why):
        read()


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_logins(auth: str) -> None:
    with MjpegServer(fps=50, auth=auth, user="bob", password=SECRET) as server:
        url = server.url.replace("//", f"//bob:{SECRET_IN_URL}@")
        source = open_source(url)
        assert next_jpeg(source)
        source.close()
        assert server.authorizations[0] == "", "the password must not be sent before it is asked for"
        for wrong in (server.url, server.url.replace("//", "//bob:wr0ng@")):
            with pytest.raises(SourceError, match=r"refuses the user name or password|asks for a login") as caught:
                open_source(wrong)
            assert "wr0ng" not in str(caught.value)


def test_redirects_stay_on_the_host(server: MjpegServer) -> None:
    server.mode = "redirect"
    source = open_source(server.url)
    assert next_jpeg(source)
    source.close()
    server.mode = "redirect_away"
    before = server.requests
    with pytest.raises(SourceError, match="redirects to another host"):
        open_source(server.url.replace("//", "//bob:s3cr3t@"))
    assert server.requests == before + 1


def test_a_camera_that_is_not_there(server: MjpegServer) -> None:
    for url in (
        f"http://bob:s3cr3t@127.0.0.1:{free_port()}/v?key=s3cr3t",
        "http://bob:s3cr3t@no-such-host.invalid/v?key=s3cr3t",
        f"https://bob:s3cr3t@127.0.0.1:{server.port}/v?key=s3cr3t",
        server.url.replace("//", "//bob:s3cr3t@") + " x?key=s3cr3t",
    ):
        with pytest.raises(SourceError) as caught:
            open_source(url, stall_s=2)
        assert "s3cr3t" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_server_that_speaks_no_http_is_said_so() -> None:
    wrong = pytest.raises(SourceError, match="does not answer as HTTP does: check the port")
    with BadCamera(b"220 mail.example ESMTP\r\n") as other, wrong:
        open_source(f"http://127.0.0.1:{other.port}/", stall_s=5)


def test_interrupt_ends_a_read_that_waits(server: MjpegServer) -> None:
    source = open_source(server.url, stall_s=60)
    next_jpeg(source)
    server.mode = "stall"
    failed: list[SourceError] = []

    def read() -> None:
        try:
            while True:
                source.grab(ignore)
        except SourceError as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    source.interrupt()
    reader.join(10)
    # Not that the camera has ended its stream.
    assert [str(error) for error in failed] == [f"The camera {server.url} has sent no image for 60 s."]
    source.close()


def test_the_service_passes_images_through_and_reconnects_and_shows_no_secret(
    server: MjpegServer, valkey: EmbeddedValkey
) -> None:
    server.auth, server.login = "digest", ("bob", SECRET)
    camera = server.url.replace("//", f"//bob:{SECRET_IN_URL}@") + "?token=t0ken-in-query"
    with ProducerUnderTest("camera", valkey, {"CAMERA": camera, "SOURCE_STALL_S": "1", "CAMERA_FPS": "100"}) as gate:
        gate.service.wait_ready()
        frames = gate.frames(5)
        images = {make_jpeg(number) for number in range(256)}
        assert all(frame.data in images for frame in frames)
        sequence = [frame.seq for frame in frames]
        assert sequence == sorted(set(sequence), key=lambda number: number or 0)
        assert {(frame.name, frame.category, frame.width, frame.height) for frame in frames} == {
            ("gate", "people", 160, 120)
        }
        assert all(frame.ts is not None and abs(time.time() - frame.ts) < 60 for frame in frames)
        assert gate.wait_state("live")["reconnects"] == "0"

        server.stop()
        gate.wait_state("reconnecting")
        server.start()
        assert int(gate.wait_state("live")["reconnects"]) >= 1

        server.mode = "stall"
        gate.wait_state("stalled")
        server.mode = "normal"
        gate.wait_state("live")
        assert gate.service.metric("ei_source_stalls_total") >= 1
        assert gate.service.metric("ei_source_reconnects_total") >= 2

        shown = gate.everything()
        for secret in (SECRET, SECRET_IN_URL, "s3cr3t", "t0ken-in-query", "bob"):
            assert secret not in shown
        assert f"127.0.0.1:{server.port}/video" in shown
        assert gate.service.terminate() == 0


def test_camera_fps_caps_a_network_camera(server: MjpegServer, valkey: EmbeddedValkey) -> None:
    with ProducerUnderTest("camera", valkey, {"CAMERA": server.url, "CAMERA_FPS": "5"}) as gate:
        gate.service.wait_ready()
        began, before, sent = time.monotonic(), gate.service.metric("ei_frames_pushed_total"), server.sent
        wait_for(lambda: gate.service.metric("ei_frames_pushed_total") >= before + 15, 30, "15 frames")
        took_s = time.monotonic() - began
        pushed = gate.service.metric("ei_frames_pushed_total") - before
        assert pushed <= 5 * took_s + 3
        assert server.sent - sent > 2 * pushed, "the camera must give more than the cap for this to mean anything"
        assert gate.service.metric("ei_frames_dropped_total") == 0, "over the cap is not wanted, not dropped"


def test_resizing_an_image_that_would_pass_through(server: MjpegServer, valkey: EmbeddedValkey) -> None:
    with ProducerUnderTest("camera", valkey, {"CAMERA": server.url, "FRAME_WIDTH": "80"}) as gate:
        assert {(frame.width, frame.height) for frame in gate.frames(3)} == {(80, 60)}
