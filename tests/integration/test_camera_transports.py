"""Network cameras beyond RTSP over TCP: key frames far apart, TLS, UDP, RTMP, HLS, FLV, MPEG-TS, still images."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from elastic_inference.adapters.source.camera import open_camera
from elastic_inference.adapters.source.captured_frame import Source
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.config import CameraSettings
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.errors import SourceError
from tests.conftest import missing_tool
from tests.support.file_server import FileServer
from tests.support.mjpeg_server import make_jpeg
from tests.support.ports import free_port
from tests.support.producer import ProducerUnderTest
from tests.support.rtsp_plain import encode, rtsp_camera
from tests.support.rtsp_server import RtspServer, available
from tests.support.waiting import wait_for


@pytest.fixture(scope="module", autouse=True)
def _ffmpeg() -> None:
    if shutil.which("ffmpeg") is None:
        missing_tool("ffmpeg")


def ignore() -> None:
    pass


def camera(url: str, **settings: Any) -> CameraSettings:
    return CameraSettings(**{"camera": url, "source_stall_s": 10, **settings})


def sizes(source: Source, count: int = 3) -> set[tuple[int, int]]:
    found = set()
    for _ in range(count):
        source.grab(ignore)
        _, width, height = JpegEncoder().encode(source.retrieve())
        found.add((width, height))
    source.close()
    return found


@contextlib.contextmanager
def ffmpeg(arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """FFmpeg's command line with its moving test image, sending in real time until the end of the block."""
    source = "-re -f lavfi -i testsrc2=size=320x240:rate=15 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 15"
    process = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-threads", "1", *source.split(), *arguments.split()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def open_when_there(settings: CameraSettings, rules: AddressRules | None = None) -> Source:
    """Opens a camera whose server may still be starting."""
    opened: list[Source] = []

    def attempt() -> bool:
        with contextlib.suppress(SourceError):
            opened.append(open_camera(settings, rules))
        return bool(opened)

    wait_for(attempt, 30, "the camera")
    return opened[0]


class HttpVideo:
    """An HTTP server that answers each request with what `body` yields."""

    def __init__(self, kind: str, body: object, tls: ssl.SSLContext | None = None) -> None:
        owner = self
        self.requests = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests += 1
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                with contextlib.suppress(OSError):
                    for piece in body():  # type: ignore[operator]
                        self.wfile.write(piece)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> HttpVideo:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_key_frame_far_away_is_waited_for_and_shown(valkey: EmbeddedValkey) -> None:
    # Each client joins just after a key frame: the next one is six seconds away.
    with rtsp_camera(encode(12, 10, 60), 10, join_at=1) as port:
        settings = {"CAMERA": f"rtsp://127.0.0.1:{port}/live", "SOURCE_STALL_S": "2"}
        with ProducerUnderTest("camera", valkey, settings) as gate:
            gate.wait_state("waiting_for_key_frame")
            assert gate.service.metric("ei_source_up") == 0
            gate.service.wait_ready()
            live = gate.wait_state("live")
            assert live["reconnects"] == "0", "waiting for a key frame is neither a stall nor a broken connection"
            assert gate.service.metric("ei_source_stalls_total") == 0
            assert "waiting for its next key frame" in gate.service.log()


@pytest.fixture(scope="module", params=["another name", "expired"])
def certificate(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ssl.SSLContext, Path, str]:
    """A server's TLS context with a certificate as cameras have it, that certificate as a file, and its fingerprint."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    if request.param == "expired":
        issued = authority.issue_cert("127.0.0.1", not_after=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    else:
        issued = authority.issue_cert("camera.invalid")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    file = folder / "camera.pem"
    issued.cert_chain_pems[0].write_to_path(str(file))
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read_text())).hexdigest()
    return context, file, f"sha256:{fingerprint}"


def test_https_trusts_a_fingerprint_or_the_very_certificate_and_nothing_else(
    certificate: tuple[ssl.SSLContext, Path, str],
) -> None:
    context, file, fingerprint = certificate

    def body() -> Iterator[bytes]:
        for number in range(50):
            yield make_jpeg(number)

    with HttpVideo("multipart/x-mixed-replace; boundary=x", body, context) as server:
        url = f"https://127.0.0.1:{server.port}/video"
        assert sizes(open_camera(camera(url, camera_fingerprint=fingerprint))) == {(160, 120)}
        assert sizes(open_camera(camera(url, camera_ca_file=file))) == {(160, 120)}
        requests = server.requests
        with pytest.raises(SourceError, match=f"is not trusted .*CAMERA_FINGERPRINT={fingerprint}"):
            open_camera(camera(url))
        with pytest.raises(SourceError, match="presents another certificate"):
            open_camera(camera(url, camera_fingerprint="sha256:" + "00" * 32))
        assert server.requests == requests, "nothing, and no password, is sent before the certificate is trusted"


def test_rtsps_trusts_a_fingerprint_or_the_very_certificate_and_nothing_else(
    certificate: tuple[ssl.SSLContext, Path, str],
) -> None:
    context, file, fingerprint = certificate
    with rtsp_camera(encode(4, 10, 5), 10, context) as port:
        url = f"rtsps://bob:s3cr3t@127.0.0.1:{port}/live"
        assert sizes(open_camera(camera(url, camera_fingerprint=fingerprint))) == {(320, 240)}
        assert sizes(open_camera(camera(url, camera_ca_file=file))) == {(320, 240)}
        with pytest.raises(SourceError, match=f"is not trusted .*CAMERA_FINGERPRINT={fingerprint}") as caught:
            open_camera(camera(url))
        assert "s3cr3t" not in str(caught.value)
        with pytest.raises(SourceError, match="presents another certificate"):
            open_camera(camera(url, camera_fingerprint="sha256:" + "00" * 32))


def test_rtsp_over_udp_only() -> None:
    if not available():
        missing_tool("GStreamer's RTSP server")
    # Twice: a server that is still busy with the refused request answers 503 now and then.
    for _ in range(2):
        with RtspServer(free_port(), transport="udp") as server:
            assert sizes(open_camera(camera(server.url))) == {(320, 240)}


def test_udp_with_mpeg_ts() -> None:
    port = free_port()
    with ffmpeg(f"-f mpegts udp://127.0.0.1:{port}?pkt_size=1316"):
        assert sizes(open_when_there(camera(f"udp://127.0.0.1:{port}"))) == {(320, 240)}


def test_rtp_with_mpeg_ts() -> None:
    port = free_port()
    with ffmpeg(f"-f rtp_mpegts rtp://127.0.0.1:{port}"):
        assert sizes(open_when_there(camera(f"rtp://127.0.0.1:{port}"))) == {(320, 240)}


def test_rtmp() -> None:
    port = free_port()
    with ffmpeg(f"-f flv -listen 1 rtmp://127.0.0.1:{port}/live/gate"):
        assert sizes(open_when_there(camera(f"rtmp://127.0.0.1:{port}/live/gate"))) == {(320, 240)}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("video/x-flv", "flv"),
        ("video/mp2t", "mpegts"),
        ("application/octet-stream", "mpegts"),
        ("binary/octet-stream", "mpegts"),
        ("text/plain", "mpegts"),
    ],
)
def test_containers_over_http(kind: str, form: str) -> None:
    def body() -> Iterator[bytes]:
        with ffmpeg(f"-f {form} -") as process:
            assert process.stdout is not None
            while piece := process.stdout.read1(4096):  # type: ignore[attr-defined]
                yield piece

    with HttpVideo(kind, body) as server:
        assert sizes(open_camera(camera(f"http://127.0.0.1:{server.port}/live"))) == {(320, 240)}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-camera", "image/jpg"])
def test_jpegs_of_any_stated_type(kind: str) -> None:
    def body() -> Iterator[bytes]:
        for number in range(50):
            yield make_jpeg(number)

    with HttpVideo(kind, body) as server:
        assert sizes(open_camera(camera(f"http://127.0.0.1:{server.port}/video"))) == {(160, 120)}


def ffmpeg_writes(arguments: str) -> bytes:
    """What FFmpeg writes to its standard output."""
    command = ["ffmpeg", "-v", "error", *arguments.split(), "-"]
    return subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("video/x-flv", "-f lavfi -i sine=d=3 -c:a aac -f flv", "has no video: it holds only audio: look"),
        (
            "video/mp2t",
            "-f lavfi -i sine=d=3 -c:a aac -f mpegts",
            "has no video: it holds only audio: look",
        ),
        (
            "video/x-matroska",
            "-f lavfi -i testsrc2=s=64x64:d=1 -c:v mjpeg -f matroska",
            'has the codec "V_XJPEG", which',
        ),
        ("video/x-flv", b"", "ended the connection before sending any video."),
        ("video/mp2t", b"no video" * 9000, "is not a video stream that FFmpeg knows: check the URL."),
    ],
)
def test_what_comes_over_http_and_is_no_video_that_can_be_shown_is_named(
    kind: str, data: str | bytes, said: str
) -> None:
    sent = data if isinstance(data, bytes) else ffmpeg_writes(data).replace(b"V_MJPEG", b"V_XJPEG")

    def body() -> Iterator[bytes]:
        yield sent

    with HttpVideo(kind, body) as server, pytest.raises(SourceError) as caught:
        open_camera(camera(f"http://127.0.0.1:{server.port}/video"))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "forbids access (HTTP 403): check the login and the camera's list of allowed clients."),
        (404, "has no stream at this path (HTTP 404)"),
        (429, "has too many connections (HTTP 429): close other viewers of it."),
        (400, "refuses the request (HTTP 400): check the URL."),
        (503, "reports an error of its own (HTTP 503): restart it if this continues."),
    ],
)
def test_each_refusal_over_http_has_its_sentence(status: int, said: str) -> None:
    with FileServer(faults=deque([status])) as server, pytest.raises(SourceError) as caught:
        open_camera(camera(server.url.replace("//", "//bob:s3cr3t@") + "/video"))
    assert said in str(caught.value)
    assert "password" not in str(caught.value)


def test_hls(tmp_path: Path) -> None:
    subprocess.run(
        "ffmpeg -v error -f lavfi -i testsrc2=size=320x240:rate=15 -t 6 -pix_fmt yuv420p -c:v libx264 -g 15 -f hls"
        f" -hls_time 2 -hls_list_size 0 {tmp_path}/live.m3u8".split(),
        check=True,
        stdin=subprocess.DEVNULL,
    )
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    files["live"] = files["live.m3u8"]
    with FileServer(files, types={"live": "application/vnd.apple.mpegurl"}) as server:
        assert sizes(open_camera(camera(f"{server.url}/live.m3u8"))) == {(320, 240)}
        assert sizes(open_camera(camera(f"{server.url}/live"))) == {(320, 240)}


def test_hls_over_https_trusts_neither_playlist_nor_segment_without_its_certificate(tmp_path: Path) -> None:
    ours, theirs = trustme.CA().issue_cert("127.0.0.1"), trustme.CA().issue_cert("127.0.0.1")
    (pem := tmp_path / "camera.pem").write_bytes(ours.cert_chain_pems[0].bytes())
    fingerprint = f"sha256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.read_text())).hexdigest()}"
    clip = ffmpeg_writes("-f lavfi -i testsrc2=size=320x240:rate=15 -t 2 -c:v mpeg2video -f mpegts")
    for issued in (ours, theirs):
        with HttpVideo("video/mp2t", lambda: [clip], server_tls(issued)) as segments:
            entry = f"https://127.0.0.1:{segments.port}/a.ts"
            playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{entry}\n#EXT-X-ENDLIST\n".encode()
            with HttpVideo("application/x-mpegurl", lambda text=playlist: [text], server_tls(ours)) as server:
                url = f"https://127.0.0.1:{server.port}/live.m3u8"
                with pytest.raises(SourceError, match=f"is not trusted .*CAMERA_FINGERPRINT={fingerprint}"):
                    open_camera(camera(url))
                assert server.requests == 0
                for trusted in ({"camera_ca_file": pem}, {"camera_fingerprint": fingerprint}):
                    if issued is ours:
                        assert sizes(open_camera(camera(url, **trusted))) == {(320, 240)}
                        continue
                    with pytest.raises(SourceError, match="presents another certificate"):
                        open_camera(camera(url, **trusted))
            assert segments.requests == (2 if issued is ours else 0)


def server_tls(issued: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    return context


def test_still_images_are_polled_at_the_cameras_rate() -> None:
    number = iter(range(1000))
    with HttpVideo("image/jpeg", lambda: [make_jpeg(next(number))]) as server:
        source = open_camera(camera(f"http://127.0.0.1:{server.port}/snapshot.jpg", camera_fps=20))
        began = time.monotonic()
        found = []
        for _ in range(10):
            source.grab(ignore)
            found.append(source.retrieve().jpeg)
        assert time.monotonic() - began >= 0.4
        assert found == [make_jpeg(each) for each in range(10)]
        source.close()


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "rtmp", "rtmps", "http", "https"])
def test_a_closed_port_and_an_unknown_name_have_their_sentences(scheme: str) -> None:
    for host, said in ((f"127.0.0.1:{free_port()}", "refuses the connection"), ("none.invalid", "unknown host name")):
        with pytest.raises(SourceError, match=said) as caught:
            open_camera(camera(f"{scheme}://bob:s3cr3t@{host}/live/x"))
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "http"])
def test_a_server_that_accepts_and_is_silent_ends_in_time(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elastic_inference.adapters.source.network.OPEN_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{scheme}://bob:s3cr3t@127.0.0.1:{listener.getsockname()[1]}/live/x"
        began = time.monotonic()
        with pytest.raises(SourceError, match="did not answer in time") as caught:
            open_camera(camera(url, source_stall_s=1))
        assert time.monotonic() - began < 25
        assert "s3cr3t" not in str(caught.value)


def test_a_recording_that_a_server_sends_at_once_is_played_at_its_own_speed(tmp_path: Path) -> None:
    made = tmp_path / "recording.ts"
    command = f"ffmpeg -v error -f lavfi -i testsrc2=s=64x48:r=10 -t 60 -c:v mpeg2video -bf 0 {made}"
    subprocess.run(command.split(), check=True, stdin=subprocess.DEVNULL)
    with HttpVideo("video/mp2t", lambda: iter([made.read_bytes()])) as server:
        source = open_camera(camera(f"http://127.0.0.1:{server.port}/recording.ts"))
        ends, frames = time.monotonic() + 2, 0
        while time.monotonic() < ends:
            source.grab(lambda: None)
            frames += 1
        source.close()
    assert frames < 10 * (15 + 2 * 1.1) + 10, "a burst of 15 s, then its own speed"
