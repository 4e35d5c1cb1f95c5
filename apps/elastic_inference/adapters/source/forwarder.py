"""Connects FFmpeg to cameras whose certificate or address it can't check, whose login it lacks, or that may flood it.

Called by `network`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable

from elastic_inference.adapters.source.rtsp_login import RtspLogin
from elastic_inference.adapters.source.unfinished import Unfinished
from elastic_inference.domain.errors import SourceError

_COPY_BYTES = 65536
# RTMP logs in with two connections after the first one, each with what the last refusal said.
_MOST_CONNECTIONS = 4


class Forwarder:
    """A loopback port that forwards one connection to a camera: over TLS, or with a login that FFmpeg lacks."""

    def __init__(
        self,
        connection: socket.socket,
        timeout_s: float,
        allows: Callable[[bytes], bool] | None = None,
        again: Callable[[], socket.socket] | None = None,
    ) -> None:
        """Takes ownership of `connection`; the only client must connect within `timeout_s`.

        It closes both connections if `allows` rejects what the camera sends. With `again`, which connects to the camera
        and raises OSError or SourceError, the client may come some more times, one connection after the other.
        """
        self._camera = connection
        self._again = again
        self._closed = False
        self._allows = allows or _everything
        self._camera.settimeout(None)
        self._client: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(timeout_s)
        self.port: int = self._listener.getsockname()[1]
        # Set it before the client connects.
        self.login: RtspLogin | None = None
        self.rewrite: Callable[[bytes], bytes] | None = None
        self.unfinished = Unfinished("The camera")
        threading.Thread(target=self._serve, name="camera-forwarder", daemon=True).start()

    def close(self) -> None:
        """Ends all connections."""
        self._closed = True
        for each in (self._listener, self._client, self._camera):
            if each is not None:
                _end(each)

    def _serve(self) -> None:
        with contextlib.suppress(OSError, ValueError, SourceError):
            for turn in range(1 if self._again is None else _MOST_CONNECTIONS):
                self._client, _ = self._listener.accept()
                if self._again is None:
                    self._listener.close()
                elif turn:
                    self._camera = self._again()
                if self._closed:
                    break
                with contextlib.suppress(OSError, ValueError):
                    self._copy(self._client)
                if self.unfinished.too_much:
                    break
                _end(self._client)
                _end(self._camera)
        self.close()

    def _copy(self, client: socket.socket) -> None:
        """Copies both ways until one side ends. In one thread, since a TLS connection must not be used by two."""
        camera, login = self._camera, self.login
        pending = camera.pending if isinstance(camera, ssl.SSLSocket) else int
        camera.setblocking(False)
        poll = select.poll()
        poll.register(client, select.POLLIN)
        poll.register(camera, select.POLLIN)
        while client.fileno() >= 0 and camera.fileno() >= 0:
            # `select` does not see data that TLS has already decrypted.
            ready = {descriptor for descriptor, _ in poll.poll(0 if pending() else None)}
            if client.fileno() in ready:
                data = client.recv(_COPY_BYTES)
                if not data:
                    return
                _send_all(camera, data if login is None else login.to_camera(data))
            if camera.fileno() in ready or pending():
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                    data = camera.recv(_COPY_BYTES)
                    if not data or not self._allows(data) or not self.unfinished.add(len(data)):
                        return
                    if login is not None:
                        data, back = login.to_ffmpeg(data)
                        _send_all(camera, back)
                    client.sendall(data if self.rewrite is None else self.rewrite(data))


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Wakes a thread that waits on it, without a TLS shutdown that waits for the camera.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connection.close()


def _everything(data: bytes) -> bool:
    return True


def _send_all(connection: socket.socket, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[connection.send(left) :]
        except (ssl.SSLWantWriteError, BlockingIOError):
            select.select((), (connection,), ())
        except ssl.SSLWantReadError:
            select.select((connection,), (), ())
