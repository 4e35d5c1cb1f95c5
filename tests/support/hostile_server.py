"""A server that answers its first request with bytes that never end, and counts how many its client takes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Self


class HostileServer:
    """Serves one client after the other, each by a thread of its own."""

    def __init__(self, answer: Callable[[socket.socket], Iterator[bytes]]) -> None:
        """`answer` reads from the client what it needs and yields what to send; each part is sent at once."""
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._connections: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self.sent = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in (self._listener, *self._connections):
            each.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            for part in self._answer(connection):
                if self._stop.is_set():
                    break
                connection.sendall(part)
                self.sent += len(part)
        except OSError:
            pass  # the client has closed it
        finally:
            connection.close()
