"""Cameras of the pool are opened where the rules allow it: redirects, playlists, names that resolve elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from elastic_inference.adapters.source.camera import open_camera
from elastic_inference.adapters.source.guarded import RtspGuard, RtspPeer
from elastic_inference.adapters.source.hls_proxy import _target
from elastic_inference.adapters.source.probe import probe_camera
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.config import CameraSettings, load
from elastic_inference.domain.errors import SourceError
from tests.conftest import missing_tool
from tests.support.fixed_answer import HEAD, JPEG, serving
from tests.support.ports import accepted, free_port
from tests.support.rtsp_server import RtspServer, available


def rules(*resolved: str, networks: tuple[str, ...] = ("127.0.0.1",)) -> AddressRules:
    """Rules whose resolver gives one address after the other, then the last one again."""
    answers = list(resolved)

    def resolve(host: str) -> list[str]:
        if host[0].isdigit():
            return [host]
        return [answers.pop(0) if len(answers) > 1 else answers[0]]

    return AddressRules(networks, None, resolve)


def opened(url: str, allowed: AddressRules | None, **settings: str) -> Any:
    return open_camera(load(CameraSettings, {"CAMERA": url, "SOURCE_STALL_S": "2", **settings}), allowed)


def test_a_name_is_checked_and_the_address_that_was_checked_is_used() -> None:
    with serving(JPEG) as camera, serving(JPEG, "127.0.0.2") as elsewhere:
        found = opened(f"http://camera.example:{camera.port}/a.jpg", rules("127.0.0.1"))
        found.close()
        assert f"Host: camera.example:{camera.port}".encode() in camera.asked[0], "the name goes into Host"
        with pytest.raises(SourceError, match="CAMERA_NETWORKS"):
            opened(f"http://camera.example:{elsewhere.port}/a.jpg", rules("127.0.0.2"))
        assert elsewhere.asked == []
        # A still image is fetched again and again: the name is checked each time.
        source = opened(f"http://camera.example:{camera.port}/a.jpg", rules("127.0.0.1", "127.0.0.2"))
        source.grab(lambda: None)
        with pytest.raises(SourceError, match="CAMERA_NETWORKS"):
            source.grab(lambda: None)
        source.close()


def test_a_redirect_over_http_is_followed_only_where_it_is_allowed() -> None:
    with serving(JPEG, "127.0.0.2") as inner:
        for where in (f"http://127.0.0.2:{inner.port}/", f"http://camera.example:{inner.port}/"):
            answer = HEAD % (b"302 Found", b"Location: " + where.encode() + b"\r\n")
            with serving(answer) as camera, pytest.raises(SourceError, match=r"redirects|CAMERA_NETWORKS"):
                opened(f"http://camera.example:{camera.port}/", rules("127.0.0.1", "127.0.0.2"))
        assert inner.asked == []


@pytest.mark.parametrize("transport", ["tcp", "udp", "auto"])
def test_a_redirect_over_rtsp_is_not_followed(transport: str) -> None:
    with serving(JPEG) as inner:
        answer = b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1:%d/x\r\n\r\n" % inner.port
        with serving(answer) as camera, pytest.raises(SourceError, match="redirects to another address"):
            opened(f"rtsp://127.0.0.1:{camera.port}/live", rules(), CAMERA_TRANSPORT=transport)
        assert camera.asked
        assert inner.asked == []


_SDP_LINES = (
    *("v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "t=0 0"),
    *("m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000", "a=control:t"),
)
SDP = "".join(f"{line}\r\n" for line in _SDP_LINES).encode()


class UdpCamera:
    """Answers RTSP up to `redirects_at`, where it leads elsewhere; its answers name another sender of the video."""

    def __init__(self, redirects_at: str, where: str, sender: str, sender_port: int) -> None:
        self.asked: list[str] = []
        self._redirects_at, self._where = redirects_at, where
        self._transport = f";source={sender};server_port={sender_port}-{sender_port + 1}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        for client in accepted(self._listener):
            with client, contextlib.suppress(OSError, IndexError):
                lines = client.makefile("rb")
                while method := lines.readline().split()[0].decode():
                    head = {
                        name.lower(): value.strip() for name, _, value in map(halves, iter(lines.readline, b"\r\n"))
                    }
                    self.asked.append(method)
                    client.sendall(self._answer(method, head))

    def _answer(self, method: str, head: dict[str, str]) -> bytes:
        if method == self._redirects_at:
            return f"RTSP/1.0 302 Moved\r\nCSeq: {head['cseq']}\r\nLocation: {self._where}\r\n\r\n".encode()
        more, body = f"Session: 1\r\nTransport: {head.get('transport', '')}{self._transport}", b""
        if method == "DESCRIBE":
            more, body = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}", SDP
        return f"RTSP/1.0 200 OK\r\nCSeq: {head['cseq']}\r\n{more}\r\n\r\n".encode() + body


def halves(line: bytes) -> tuple[str, str, str]:
    return line.decode().partition(":")


@pytest.mark.parametrize("method", ["SETUP", "PLAY"])
def test_over_udp_no_answer_leads_elsewhere(method: str) -> None:
    with serving(b"") as inner, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.2", 0))
        elsewhere.settimeout(0.3)
        where = f"rtsp://127.0.0.1:{inner.port}/x"
        camera = UdpCamera(method, where, "127.0.0.2", elsewhere.getsockname()[1])
        try:
            with pytest.raises(SourceError, match="redirects to another address"):
                opened(f"rtsp://127.0.0.1:{camera.port}/live", rules(), CAMERA_TRANSPORT="udp")
        finally:
            camera.close()
        assert camera.asked[-1] == method
        assert inner.asked == []


def test_over_udp_nothing_is_sent_to_another_address_that_an_answer_names() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
        elsewhere.bind(("127.0.0.2", 0))
        elsewhere.settimeout(0.3)
        camera = UdpCamera("", "", "127.0.0.2", elsewhere.getsockname()[1])
        try:
            opened(f"rtsp://127.0.0.1:{camera.port}/live", rules(), CAMERA_TRANSPORT="udp", SOURCE_STALL_S="1").close()
        finally:
            camera.close()
        assert "PLAY" in camera.asked
        with pytest.raises(TimeoutError):
            elsewhere.recv(2048)


def test_over_udp_a_camera_plays() -> None:
    if not available():
        missing_tool("GStreamer's RTSP server")
    with RtspServer(free_port(), transport="udp") as camera:
        for transport in ("udp", "auto"):
            source = opened(camera.url, rules(), CAMERA_TRANSPORT=transport, SOURCE_STALL_S="10")
            for _ in range(5):
                source.grab(lambda: None)
                assert source.retrieve().image is not None
            source.close()


def test_answers_over_udp_name_the_camera_in_any_pieces() -> None:
    told = (
        b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;unicast;source=1.2.3.4;server_port=5-6\r\nContent-Length: 20\r\n\r\n"
        b"Transport: source=9\r\n"
    )
    for size in (1, 7, len(told)):
        peer = RtspPeer("10.0.0.7")
        out = b"".join(peer.rewrite(told[at : at + size]) for at in range(0, len(told), size))
        assert b"Transport: RTP/AVP;unicast;server_port=5-6;source=10.0.0.7\r\n" in out
        assert b"1.2.3.4" not in out
        assert out.endswith(b"\r\n\r\nTransport: source=9\r")


def test_an_rtsp_camera_whose_name_resolves_elsewhere_is_not_asked() -> None:
    with serving(b"", "127.0.0.2") as inner:
        for transport in ("auto", "tcp", "udp"):
            with pytest.raises(SourceError, match="CAMERA_NETWORKS"):
                opened(f"rtsp://camera.example:{inner.port}/live", rules("127.0.0.2"), CAMERA_TRANSPORT=transport)
        for scheme in ("rtmp", "rtmps", "rtsps", "udp", "https"):
            with pytest.raises(SourceError, match="CAMERA_NETWORKS"):
                opened(f"{scheme}://camera.example:{inner.port}/live", rules("127.0.0.2"))
        assert inner.asked == []


@pytest.mark.parametrize("entry", ["http://127.0.0.2:%d/a.ts", "http://camera.example:%d/a.ts"])
def test_a_playlist_leads_only_to_addresses_that_are_allowed(entry: str) -> None:
    with serving(JPEG, "127.0.0.2") as inner:
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{entry % inner.port}\n".encode()
        answer = HEAD % (b"200 OK", b"Content-Type: application/vnd.apple.mpegurl\r\n") + playlist
        with serving(answer) as camera:
            with pytest.raises(SourceError, match="CAMERA_NETWORKS"):
                opened(f"http://camera.example:{camera.port}/live.m3u8", rules("127.0.0.1", "127.0.0.2"))
            assert b"GET /live.m3u8 HTTP/1.1" in camera.asked[0]
        assert inner.asked == []


def test_a_playlist_that_is_redirected_elsewhere_is_not_followed() -> None:
    with serving(JPEG, "127.0.0.2") as inner:
        where = f"http://127.0.0.2:{inner.port}/x.m3u8".encode()
        moved = HEAD % (b"302 Found", b"Location: " + where + b"\r\n")
        with serving(moved) as camera, pytest.raises(SourceError, match="CAMERA_NETWORKS"):
            opened(f"http://127.0.0.1:{camera.port}/live.m3u8", rules())
        assert inner.asked == []


def test_hls_that_is_allowed_plays(shared_clip: bytes) -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://other.example:%d/a.ts\n#EXT-X-ENDLIST\n"
    with serving(HEAD % (b"200 OK", b"Content-Type: video/mp2t\r\n") + shared_clip) as segments:
        body = HEAD % (b"200 OK", b"Content-Type: application/vnd.apple.mpegurl\r\n") + playlist % segments.port
        with serving(body) as camera:
            source = opened(f"http://camera.example:{camera.port}/live.m3u8", rules("127.0.0.1"))
            source.grab(lambda: None)
            assert source.retrieve() is not None
            source.close()


@pytest.fixture(scope="module")
def shared_clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds of MPEG-TS."""
    path: Path = tmp_path_factory.mktemp("clip") / "a.ts"
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("mpeg2video", 25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(50):
            image = av.VideoFrame.from_ndarray(np.full((96, 128, 3), number * 5, np.uint8), format="rgb24")
            out.mux(stream.encode(image))
        out.mux(stream.encode(None))
    return path.read_bytes()


def test_a_usb_camera_is_no_camera_of_the_pool() -> None:
    with pytest.raises(SourceError, match="USB"):
        opened("/dev/video0", rules())


def test_a_probe_follows_the_rules_and_hands_out_the_first_frame() -> None:
    images: list[bytes] = []
    with serving(JPEG) as camera:
        url = f"http://127.0.0.1:{camera.port}/a.jpg"
        probe_camera(url, watch_s=0.1, limit_s=5, rules=rules(), on_image=images.append)
        assert images[0][:2] == b"\xff\xd8"
        with pytest.raises(SourceError, match="CAMERA_NETWORKS"):
            probe_camera(url, rules=rules(networks=("10.0.0.0/8",)))


def test_the_guard_finds_a_redirect_in_any_pieces() -> None:
    text = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n$\0\0\4abcdRTSP/1.0 \t301 Moved\r\n"
    for size in (1, 2, 7, len(text)):
        guard = RtspGuard()
        assert not all(guard.allows(text[at : at + size]) for at in range(0, len(text), size))
    guard = RtspGuard()
    assert all(guard.allows(each) for each in (b"RTSP/1.0 200 OK\r\n" * 9, b"RTSP/1.0 454 No\r\n", b"\0" * 70000))


def test_what_is_no_rtsp_ends_the_connection_at_once() -> None:
    for answer in (b"HTTP/1.1 200 OK\r\n\r\n", bytes(range(256)) * 9, b"RTSP/1.0 200 OK\r\n" + b"x" * 200_000):
        with serving(answer) as camera, pytest.raises(SourceError, match="does not answer as RTSP"):
            opened(f"rtsp://127.0.0.1:{camera.port}/live", rules(), CAMERA_TRANSPORT="tcp")


def test_the_guard_lets_answers_and_video_pass_in_any_pieces() -> None:
    described = b"RTSP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nv=0\n\r\nRTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n$"
    for size in (1, 3, len(described)):
        guard = RtspGuard()
        assert all(guard.allows(described[at : at + size]) for at in range(0, len(described), size))
        assert all(guard.allows(b"\0" * 60_000) for _ in range(9)), "video has no bound"
    guard = RtspGuard()
    assert not all(guard.allows(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n" + b"x" * 60_000) for _ in range(9))


def test_the_proxy_reads_addresses_as_they_are_written() -> None:
    head = b"GET http://a.example:81/x?y HTTP/1.1\r\nHost: a.example\r\nProxy-Connection: x\r\nAccept: */*\r\n\r\n"
    host, port, sent = _target(head)
    assert (host, port) == ("a.example", 81)
    assert sent == b"GET /x?y HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    host, port, sent = _target(b"GET http://[::1]:443/x HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", b"more")
    assert (host, port, sent[-8:]) == ("::1", 443, b"\r\n\r\nmore")
    assert b"Host: [::1]\r\n" in sent
    for bad in (b"GET /x HTTP/1.1\r\n\r\n", b"GET http://u@h/ HTTP/1.1\r\n\r\n", b"", b"CONNECT a:1 HTTP/1.1\r\n\r\n"):
        with pytest.raises(ValueError, match="no"):
            _target(bad)
