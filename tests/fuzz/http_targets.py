"""Targets that read HTTP: a camera's responses, its login challenges, and the headers of proxies and pages."""

from __future__ import annotations

import contextlib
import ipaddress
from unittest import mock

from hypothesis import strategies as st

from elastic_inference.adapters.source import http_stream
from elastic_inference.adapters.source.http_client import HttpCamera
from elastic_inference.adapters.source.http_login import HttpLogin, challenges
from elastic_inference.base.forwarded import check_prefix, client_of, parse_networks
from elastic_inference.base.web_origin import is_allowed_origin, origin_of, refusal_reason
from elastic_inference.domain.errors import InvalidFrameError, SourceError
from tests.fuzz.image_targets import MAX_IMAGE_BYTES, jpegs, mjpeg_bodies
from tests.fuzz.target import Reader, Target
from tests.fuzz.wire import answering

# Between a camera's responses to the first, second, … request.
NEXT = b"\n==next==\n"
_TRUSTED = parse_networks(["10.0.0.0/8", "fd00::/8", "192.0.2.1"])
_FORWARDED = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded")


class _NoContainer:
    """Replaces the reader of video in containers: that is FFmpeg, which its own project fuzzes."""

    def __init__(self, _camera: object, answer: http_stream.Answer, *_: object) -> None:
        answer.close()
        raise SourceError("a container")


def _camera(data: bytes) -> None:
    camera = HttpCamera("http://user:p%40ss@camera.example/video?x=1", 5.0)
    with answering(data.split(NEXT)), mock.patch.object(http_stream, "HttpContainerSource", _NoContainer):
        source = http_stream.open_http(camera, 5.0, 1000.0, MAX_IMAGE_BYTES)
        try:
            for _ in range(8):
                source.grab(lambda: None)
                with contextlib.suppress(InvalidFrameError):
                    assert len(source.retrieve().jpeg or b"") <= MAX_IMAGE_BYTES + 2
        finally:
            source.close()


def _camera_seeds() -> list[bytes]:
    mjpeg, still = mjpeg_bodies()[0], jpegs()[1]
    multipart = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n" + mjpeg
    image = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(still) + still
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(still), still)
    login = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
    moved = b"HTTP/1.1 302 Moved\r\nLocation: /other\r\n\r\n"
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>"
    return [multipart, image, chunked, page, NEXT.join((login + b"\r\n", multipart)), NEXT.join((moved, image))]


def _login(data: bytes) -> None:
    headers = data.decode("latin-1").split("\n")
    for each in challenges(headers):
        assert each.scheme == each.scheme.lower()
    login = HttpLogin("user", 'p"ä\\ss')
    login.stale(headers)
    if login.accept(headers) is None:
        header = login.header("GET", "/video")
        assert header is not None
        assert header.startswith(("Digest ", "Basic "))


def _login_seeds() -> list[bytes]:
    return [
        b'Digest realm="cam, 1", nonce="a\\"b", qop="auth,auth-int", algorithm=SHA-256-sess, opaque="", stale=TRUE',
        b'Basic realm="x"\nDigest realm="r",nonce="n",algorithm=MD5, Basic realm="y"',
        b"Bearer, Negotiate abc==",
    ]


def _proxies(data: bytes) -> None:
    reader = Reader(data)
    peer = ("10.1.2.3", "203.0.113.9", "fd00::1", "not an address")[reader.byte() % 4]
    lines = reader.rest().decode("latin-1").split("\n")
    values = {name: lines[index :: len(_FORWARDED)] for index, name in enumerate(_FORWARDED)}
    for given in (values, {"Forwarded": lines}):
        client = client_of(peer, lambda name, given=given: given.get(name, []), _TRUSTED)
        assert client.scheme in ("", "http", "https")
        assert client.prefix == check_prefix(client.prefix)
        assert len(client.host) <= 255
        if client.address != peer:
            ipaddress.ip_address(client.address)
        assert len(refusal_reason(lines, lines, client, peer)) < 1500


def _proxy_seeds() -> list[bytes]:
    return [
        b"\x0010.9.9.9, 203.0.113.9\nexample.org:8443\nhttps\n/ei",
        b'\x00for="[2001:db8::1]:80";proto=https;host=example.org, for=10.0.0.7',
        b"\x02[fd00::2%eth0]:80\n[::1]:5000\nwss\n/a/../b",
    ]


def _origins(data: bytes) -> None:
    lines = data.decode("latin-1").split("\n")
    half = len(lines) // 2
    assert isinstance(is_allowed_origin(lines[:half], lines[half:], ["https://example.org"]), bool)
    origin = origin_of(lines[0])
    assert origin == "" or origin.startswith(("http://", "https://"))


def _network_names(data: bytes) -> None:
    parse_networks(data.decode("utf-8", "replace").split(","))


def _text_lines() -> st.SearchStrategy[bytes]:
    """Lines of printable text with the punctuation that headers use."""
    line = st.text(alphabet='abZ09 ,;:=."\\/[]%-_@#?~é\t', max_size=60)
    return st.lists(line, max_size=8).map(lambda lines: "\n".join(lines).encode("latin-1"))


TARGETS = (
    Target("HTTP cameras", _camera, (SourceError,), _camera_seeds),
    Target("login challenges", _login, (), _login_seeds, _text_lines),
    Target("headers of proxies", _proxies, (), _proxy_seeds, _text_lines),
    Target("origins and hosts", _origins, (), lambda: [b"https://example.org\nexample.org:443"], _text_lines),
    Target("networks", _network_names, (ValueError,), lambda: [b"10.0.0.0/8,fd00::/8,192.0.2.1"], _text_lines),
)
