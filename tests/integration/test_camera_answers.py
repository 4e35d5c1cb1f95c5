"""An HTTP camera that answers without end is given up in time: its thread must not hang, and no other camera waits."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from elastic_inference.adapters.source import http_client, http_stream
from elastic_inference.adapters.source.http_client import HttpCamera
from elastic_inference.adapters.source.http_stream import open_http
from elastic_inference.domain.errors import SourceError
from tests.support.hostile_server import HostileServer

LIMIT_S = 1.0
Answer = Callable[[socket.socket], Iterator[bytes]]


def slowly(first: bytes, again: bytes) -> Answer:
    """`first` at once, then `again` ten times a second: no read runs into its time-out."""

    def answer(connection: socket.socket) -> Iterator[bytes]:
        connection.recv(4096)
        yield first
        while True:
            time.sleep(0.1)
            yield again

    return answer


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "ANSWERS_S", LIMIT_S)
    monkeypatch.setattr(http_stream, "OPEN_S", LIMIT_S)


@pytest.mark.parametrize(
    "answer",
    [
        slowly(b"", b"H"),
        slowly(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        slowly(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        slowly(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        slowly(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\nFLV\1\5\0\0\0\x09\0\0\0\0", b"\0"),
        slowly(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\n", b"\x47"),
    ],
    ids=["status", "header", "headers", "hints", "flv", "mpeg-ts"],
)
def test_a_camera_that_sends_a_byte_now_and_then_is_given_up(answer: Answer) -> None:
    with HostileServer(answer) as server:
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"did not answer in time|sent too little within 1 s"):
            open_http(HttpCamera(f"http://127.0.0.1:{server.port}/", 5.0), 5.0, 10, 200_000)
        assert time.monotonic() - began < 15


def test_redirects_and_logins_share_one_limit() -> None:
    def again(connection: socket.socket) -> Iterator[bytes]:
        connection.recv(4096)
        time.sleep(0.7 * LIMIT_S)
        yield b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"

    with HostileServer(again) as server, pytest.raises(SourceError, match="did not answer in time"):
        HttpCamera(f"http://127.0.0.1:{server.port}/", 5.0).get()
