"""A server on loopback that answers each connection with the same bytes, and HTTP answers for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.gateway import JPEG as IMAGE
from tests.support.ports import accepted

HEAD = b"HTTP/1.1 %b\r\nConnection: close\r\n%b\r\n"
JPEG = HEAD % (b"200 OK", b"Content-Type: image/jpeg\r\n") + IMAGE


class Server:
    """Answers each connection with the same bytes and notes what was asked."""

    def __init__(self, answer: bytes, address: str = "127.0.0.1") -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        for client in accepted(self._listener):
            with client:
                client.settimeout(5)
                try:
                    self.asked.append(client.recv(65536))
                    client.sendall(self.answer)
                    client.shutdown(socket.SHUT_WR)
                    client.recv(1)
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def serving(answer: bytes, address: str = "127.0.0.1") -> Iterator[Server]:
    server = Server(answer, address)
    try:
        yield server
    finally:
        server.close()
