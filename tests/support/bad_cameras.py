"""Cameras that misbehave: one that never answers, one that sends rubbish."""

from __future__ import annotations

import contextlib
import socket
import threading

from tests.support.ports import accepted


class BadCamera:
    """Listens on loopback and accepts; with `says` it answers each connection with that, and else never."""

    def __init__(self, says: bytes = b"") -> None:
        self._says = says
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="bad-camera", daemon=True)

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._open)

    def __enter__(self) -> BadCamera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            each.close()
        self._thread.join(5)

    def _serve(self) -> None:
        for connection in accepted(self._listener):
            self._open.append(connection)
            if self._says:
                with contextlib.suppress(OSError):
                    connection.sendall(self._says)
                    connection.shutdown(socket.SHUT_RDWR)
