"""A camera that sends without end, but no frame: FFmpeg would collect what comes until there is no memory left."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from elastic_inference.adapters.source import playlist_guard, unfinished
from elastic_inference.adapters.source.camera import open_camera
from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.adapters.source.input_errors import NO_HTTP
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.domain.errors import SourceError
from tests.support.fixed_answer import HEAD, serving
from tests.support.ports import free_port
from tests.support.rtmp_server import DATA, RtmpServer, message
from tests.support.rtsp_plain import encode, rtsp_camera
from tests.support.waiting import wait_for

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


def unchecked(url: str) -> Source:
    """As a camera stream service opens its only camera: any address is allowed."""
    return open_camera(load(CameraSettings, {"CAMERA": url}))


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


BOTH = pytest.mark.parametrize("opens", [opened, unchecked])


def when_there(opens: Callable[[str], Source], url: str) -> Source:
    """Opens a camera whose server may still be starting."""

    def attempt() -> Source | None:
        try:
            return opens(url)
        except SourceError as error:
            if "refuses the connection" not in str(error):
                raise
            return None

    found = wait_for(attempt, 30, "the camera")
    assert found is not None
    return found


@BOTH
def test_over_rtmp_it_ends_in_an_error(opens: Callable[[str], Source]) -> None:
    # After a second of video, sound goes on for ever: each packet is complete, so FFmpeg's time-out never comes.
    url = f"rtmp://127.0.0.1:{free_port()}/live/gate"
    sources = "-f lavfi -i testsrc2=s=64x48:r=10:d=1 -f lavfi -i anoisesrc=r=44100"
    codecs = "-c:v libx264 -preset ultrafast -g 5 -pix_fmt yuv420p -c:a pcm_s16le"
    command = f"ffmpeg -v quiet {sources} {codecs} -f flv -listen 1 {url}"
    with subprocess.Popen(command.split(), stdin=subprocess.DEVNULL) as server:
        try:
            with pytest.raises(SourceError, match=WHY):
                read_on(when_there(opens, url), 1000)
        finally:
            server.kill()


def test_sound_that_goes_on_without_video_ends_in_an_error() -> None:
    port = free_port()
    sources = "-re -f lavfi -i testsrc2=s=64x48:r=10:d=3 -re -f lavfi -i sine"
    codecs = "-c:v libx264 -preset ultrafast -tune zerolatency -g 5 -pix_fmt yuv420p -c:a mp2"
    target = f"-max_interleave_delta 100000 -f mpegts udp://127.0.0.1:{port}?pkt_size=1316"
    command = f"ffmpeg -v quiet {sources} {codecs} {target}"
    settings = load(CameraSettings, {"CAMERA": f"udp://127.0.0.1:{port}", "SOURCE_STALL_S": "2"})
    with subprocess.Popen(command.split(), stdin=subprocess.DEVNULL) as camera:
        try:
            with pytest.raises(SourceError, match="has sent no video for 2 s, only audio: restart it"):
                read_on(open_camera(settings), 1000)
        finally:
            camera.kill()


def metadata_without_end(server: RtmpServer, client: socket.socket) -> None:
    server.wait_for(client, "tcUrl")
    while server.sent < 64 << 20:
        server.send(client, message(DATA, bytes(1 << 20)))


@BOTH
def test_over_rtmp_metadata_without_an_end_is_not_read(opens: Callable[[str], Source]) -> None:
    with RtmpServer(metadata_without_end) as server:
        with pytest.raises(SourceError, match=WHY):
            opens(f"rtmp://127.0.0.1:{server.port}/live/gate")
        # What the kernel holds between the two comes on top.
        assert server.sent < 32 << 20


def mpeg_ts(h264: bytes) -> bytes:
    command = "ffmpeg -v error -f h264 -i - -c copy -f mpegts -"
    return subprocess.run(command.split(), input=h264, capture_output=True, check=True).stdout


def endless_packets(count: int) -> bytes:
    """MPEG-TS packets that go on with the last frame of FFmpeg's first stream."""
    return b"".join(bytes([0x47, 0x01, 0x00, 0x10 | number & 15]) + b"\x55" * 184 for number in range(count))


@BOTH
def test_over_hls_it_ends_in_an_error(opens: Callable[[str], Source]) -> None:
    segment = mpeg_ts(encode(1, 10, 5)) + endless_packets(20_000)
    with serving(HEAD % (b"200 OK", b"Content-Type: video/mp2t\r\n") + segment) as segments:
        playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:%d/a.ts\n" % segments.port
        with serving(HEAD % (b"200 OK", b"Content-Type: application/vnd.apple.mpegurl\r\n") + playlist) as camera:
            source = opens(f"http://127.0.0.1:{camera.port}/live.m3u8")
            with pytest.raises(SourceError, match=WHY):
                read_on(source, 1000)


def test_a_read_that_goes_on_without_frames_can_be_interrupted() -> None:
    # With so many frames FFmpeg knows the stream. With ten it asks for more of them until the time-out, and opens then.
    segment = mpeg_ts(encode(1, 30, 5))
    with serving(HEAD % (b"200 OK", b"Content-Type: video/mp2t\r\n") + segment) as segments:
        playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:%d/a.ts\n" % segments.port
        with serving(HEAD % (b"200 OK", b"Content-Type: application/vnd.apple.mpegurl\r\n") + playlist) as camera:
            url = f"http://127.0.0.1:{camera.port}/live.m3u8"
            source = open_camera(load(CameraSettings, {"CAMERA": url, "SOURCE_STALL_S": "60"}))
            # FFmpeg asks for the playlist again and again.
            threading.Timer(1.5, source.interrupt).start()
            began = time.monotonic()
            with pytest.raises(SourceError, match="has sent no complete frame for 60 s"):
                read_on(source, 1000)
            assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"", "sends a playlist of more than"),
        (b"Transfer-Encoding: chunked\r\n", "sends a playlist of more than"),
        (b"Content-Encoding: gzip\r\n", "compresses what it sends"),
        (b"X: %b\r\n" % (b"x" * 40_000), NO_HTTP),
    ],
)
@BOTH
def test_a_playlist_that_never_ends_is_not_read(
    monkeypatch: pytest.MonkeyPatch, opens: Callable[[str], Source], header: bytes, said: str
) -> None:
    monkeypatch.setattr(playlist_guard, "MAX_PLAYLIST_BYTES", 1 << 20)
    body = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + b"#EXTINF:1,\na.ts\n" * 100_000
    if header.startswith(b"Transfer"):
        body = b"%x\r\n" % len(body) + body
    head = HEAD % (b"200 OK", b"Content-Type: application/vnd.apple.mpegurl\r\n" + header)
    with serving(head + body) as camera, pytest.raises(SourceError, match=said):
        opens(f"http://127.0.0.1:{camera.port}/live.m3u8")


def test_over_udp_the_error_does_not_say_that_nothing_came() -> None:
    port, stop = free_port(), threading.Event()
    good = mpeg_ts(encode(3, 10, 5))

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to:
            while not stop.is_set():
                whole = good if not source else endless_packets(7)
                for at in range(0, len(whole), 1316):
                    to.sendto(whole[at : at + 1316], ("127.0.0.1", port))
                    time.sleep(0.002)

    source: list[Source] = []
    sender = threading.Thread(target=send)
    sender.start()
    try:
        settings = load(CameraSettings, {"CAMERA": f"udp://127.0.0.1:{port}", "SOURCE_STALL_S": "2"})
        source.append(open_camera(settings))
        with pytest.raises(SourceError, match=r"has sent no complete frame for 2 s: .* format of its stream"):
            read_on(source[0], 1000)
    finally:
        stop.set()
        sender.join()


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


@BOTH
def test_a_playlist_of_very_many_versions_is_not_read(opens: Callable[[str], Source]) -> None:
    """FFmpeg took 10 kB for each, and seconds to look at all."""
    entry = b"#EXT-X-STREAM-INF:BANDWIDTH=%d\nv%d.m3u8\n"
    body = b"#EXTM3U\n" + b"".join(entry % (number + 1, number) for number in range(1000))
    head = HEAD % (b"200 OK", b"Content-Type: application/vnd.apple.mpegurl\r\n")
    with serving(head + body) as camera:
        with pytest.raises(SourceError, match="names more than 128 versions of its stream: use the address of one"):
            opens(f"http://127.0.0.1:{camera.port}/live.m3u8")
        assert len(camera.asked) == 1


@pytest.mark.parametrize("part", ["interim answers", "trailers"])
def test_lines_without_end_around_a_playlist_are_not_read(part: str) -> None:
    """They have no limit in http.client, and took a core until FFmpeg gave up."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    head = HEAD % (b"200 OK", b"Content-Type: application/vnd.apple.mpegurl\r\nTransfer-Encoding: chunked\r\n")
    answer = {"interim answers": interim * 400_000, "trailers": head + b"0\r\n" + b"X-A: b\r\n" * 1_200_000}[part]
    with serving(answer) as camera, pytest.raises(SourceError, match=WHY):
        opened(f"http://127.0.0.1:{camera.port}/live.m3u8")
