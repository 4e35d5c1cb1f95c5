"""A socket whose server must answer each request within a time and with so many bytes. Used by `redis_stream`.

Libraries collect an answer until it is complete, however long it is, and a time-out of a socket is one of each read: a
server that sends a byte now and then would hold its sink's thread for good.
"""

from __future__ import annotations

import socket
import time
from typing import Any


class BoundedSocket:
    """Stands in for `plain`, which is connected. What it does not define, it passes on."""

    def __init__(self, plain: socket.socket, limit_s: float, limit_bytes: int) -> None:
        """The limits hold for everything that is received between two sends."""
        self._plain = plain
        self._limit_s, self._limit_bytes = limit_s, limit_bytes
        self._until_s, self._left_bytes = time.monotonic() + limit_s, limit_bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def sendall(self, data: bytes) -> None:
        """Sends a request, for whose answer the limits begin anew."""
        self._until_s, self._left_bytes = time.monotonic() + self._limit_s, self._limit_bytes
        self._plain.settimeout(self._limit_s)
        self._plain.sendall(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As of a socket. Raises ConnectionError when the answer is too long, TimeoutError when it takes too long."""
        self._wait()
        found = self._plain.recv(size, flags)
        if not flags:
            self._count(len(found))
        return found

    def recv_into(self, buffer: Any) -> int:
        """As `recv`, into a buffer."""
        self._wait()
        return self._count(self._plain.recv_into(buffer))

    def _wait(self) -> None:
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"the answer takes more than {self._limit_s:g} s")
        self._plain.settimeout(left_s)

    def _count(self, size: int) -> int:
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise ConnectionError(f"the answer has more than {self._limit_bytes} bytes")
        return size
