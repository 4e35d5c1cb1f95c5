"""Viewers and a publisher for the relay's benchmark, with as little work of their own as possible."""

from __future__ import annotations

import os
import selectors
import socket
import time
from contextlib import suppress

from elastic_inference.domain.result import result_json
from elastic_inference.domain.result_message import join_message
from tests.support.results import make_result

FRAME_BYTES = 50_000
STREAM = "bench:people:inferred"
# Frames on their way from the publisher to the viewers.
_WINDOW = 3
# The relay watches new viewers more closely for a second.
_WARM_UP_S = 1.3
_ORDER = 1_000_000_000
_READ = bytearray(1 << 20)
_READ_VIEW = memoryview(_READ)
_PING, _PING_BYTES = 0x89, 10


class Viewers:
    """N open websockets whose frames are counted, not parsed."""

    def __init__(self, port: int, target: str, count: int, stalled: int = 0) -> None:
        self._selector = selectors.DefaultSelector()
        self._sockets = [self._open(port, target) for _ in range(count + stalled)]
        self.received = [0] * count
        # For each viewer: bytes until the next frame begins, and the first part of a ping that was split.
        self._left, self._heads = [0] * count, [b""] * count
        for number, each in enumerate(self._sockets[:count]):
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ, number)

    @staticmethod
    def _open(port: int, target: str) -> socket.socket:
        viewer = socket.create_connection(("127.0.0.1", port), 10)
        viewer.sendall(
            f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += viewer.recv(1)
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise ConnectionError(answer.decode(errors="replace"))
        return viewer

    def read(self, timeout_s: float) -> int:
        """Reads what has arrived and answers pings; returns the highest number of bytes that a viewer has read."""
        best = 0
        for key, _ in self._selector.select(timeout_s):
            number = key.data
            head = self._heads[number]
            start = len(head)
            _READ[:start] = head
            count = key.fileobj.recv_into(_READ_VIEW[start:])  # type: ignore[union-attr]
            if not count:
                raise ConnectionError("a viewer was disconnected")
            count += start
            at, pings = self._left[number], 0
            while at < count:
                if _READ[at] != _PING:
                    at += FRAME_BYTES + 4
                elif count - at >= _PING_BYTES:
                    # An answer, masked with zeros.
                    key.fileobj.send(b"\x8a\x88\0\0\0\0" + _READ[at + 2 : at + _PING_BYTES])  # type: ignore[union-attr]
                    at += _PING_BYTES
                    pings += _PING_BYTES
                else:
                    break
            self._heads[number] = bytes(_READ[at:count])
            self._left[number] = max(at - count, 0)
            total = self.received[number] = self.received[number] + min(at, count) - start - pings
            best = max(best, total)
        return best

    def close(self) -> None:
        self._selector.close()
        for each in self._sockets:
            each.close()


class Publisher:
    """Publishes results of FRAME_BYTES with a rising `order` on a bare socket."""

    def __init__(self, port: int) -> None:
        document = result_json(make_result(stream=STREAM, order=_ORDER, width=768, height=432, detections=()))
        jpeg = b"\xff\xd8" + os.urandom(FRAME_BYTES - len(document) - 6)
        message = join_message(document, jpeg)
        assert len(message) == FRAME_BYTES
        head = f"*3\r\n$7\r\nPUBLISH\r\n${len(STREAM)}\r\n{STREAM}\r\n${len(message)}\r\n".encode()
        self._before, _, self._after = (head + message + b"\r\n").partition(str(_ORDER).encode())
        self._socket = socket.create_connection(("127.0.0.1", port), 5)
        self._order = _ORDER

    def publish(self) -> None:
        self._order += 1
        self._socket.sendall(b"%b%d%b" % (self._before, self._order, self._after))
        with suppress(BlockingIOError):
            self._socket.recv(65536, socket.MSG_DONTWAIT)

    def close(self) -> None:
        self._socket.close()


def measure(viewers: Viewers, publisher: Publisher | None, seconds: float) -> float:
    """Frames per second of all viewers together."""
    size = FRAME_BYTES + 4
    published, newest, warm_from, last_s = 0, 0, [0], 0.0
    started = time.monotonic()
    began, until = 0.0, started + 60
    while (now_s := time.monotonic()) < until:
        if publisher is not None and (published - newest < _WINDOW or now_s - last_s > 0.2):
            if published - newest >= _WINDOW:
                published = newest  # frames were skipped, or nobody subscribes yet
            publisher.publish()
            published += 1
            last_s = now_s
        newest = max(newest, viewers.read(0.02) // size)
        if not began and now_s - started > _WARM_UP_S and min(viewers.received) > 3 * size:
            began, warm_from = time.monotonic(), list(viewers.received)
            until = began + seconds
    if not began:
        raise TimeoutError("the viewers got nothing")
    elapsed = time.monotonic() - began
    return sum(now - then for now, then in zip(viewers.received, warm_from, strict=True)) / size / elapsed
