"""A real HTTP server on loopback that sends valid or broken MJPEG, as the test requests."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import simplejpeg

BOUNDARY = "picture"


def make_jpeg(number: int = 0, width: int = 160, height: int = 120) -> bytes:
    """A JPEG whose grey level encodes `number`."""
    pixels = np.full((height, width, 3), number % 256, np.uint8)
    return bytes(simplejpeg.encode_jpeg(pixels, 80, colorspace="BGR", colorsubsampling="420"))


def part(jpeg: bytes, *, length: bool = True, boundary: str = BOUNDARY) -> bytes:
    """One part of the body."""
    head = f"--{boundary}\r\nContent-Type: image/jpeg\r\n" + (f"Content-Length: {len(jpeg)}\r\n" if length else "")
    return head.encode() + b"\r\n" + jpeg + b"\r\n"


class MjpegServer:
    """Serves `body` (what follows the head, piece by piece) at `/video`; `stop` and `start` keep the port.

    `mode` is read for each request and each frame: `normal`, `no_length`, `stall` (silent from now on), `close`
    (ends the answer), `oversize`, `wrong_boundary`, `zero_length`, `boundary_text`, `bare` (JPEGs in a row),
    `garbage`, `plain` (no multipart), `redirect`, `redirect_away`.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        host: str = "127.0.0.1",
        fps: float = 20,
        auth: str = "",
        user: str = "",
        password: str = "",
        image: bytes = b"",
    ) -> None:
        """`auth` is `basic` or `digest` with the login it asks for; `image` is sent instead of numbered ones."""
        self.mode = "normal"
        self.fps = fps
        self.auth = auth
        self.login = (user, password)
        self.image = image
        self.requests = 0
        self.sent = 0
        self.authorizations: list[str] = []
        self.host = host
        self.port = port
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._open: set[socket.socket] = set()
        self.start()

    @property
    def url(self) -> str:
        """The stream's address, without a login."""
        return f"http://{self.host}:{self.port}/video"

    def start(self) -> None:
        """Listens."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests += 1
                owner._open.add(self.connection)
                with contextlib.suppress(OSError):
                    owner._answer(self)
                owner._open.discard(self.connection)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass

        self._server = Server((self.host, self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops listening and breaks every connection."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server = None

    def __enter__(self) -> MjpegServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.mode = "close"
        self.stop()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.auth and not self._allowed(request):
            request.send_response(401)
            challenge = (
                'Basic realm="camera"' if self.auth == "basic" else 'Digest realm="camera", nonce="n1", qop="auth"'
            )
            request.send_header("WWW-Authenticate", challenge)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if self.mode in ("redirect", "redirect_away"):
            host = "localhost" if self.mode == "redirect_away" else "127.0.0.1"
            if self.mode == "redirect":
                self.mode = "normal"
            request.send_response(302)
            request.send_header("Location", f"http://{host}:{self.port}/moved")
            request.end_headers()
            return
        request.send_response(200)
        kind = "text/html" if self.mode == "plain" else f"multipart/x-mixed-replace; boundary=--{BOUNDARY}"
        request.send_header("Content-Type", kind)
        request.end_headers()
        for piece in self._pieces():
            request.wfile.write(piece)
            request.wfile.flush()

    def _pieces(self) -> Iterator[bytes]:
        writers: dict[str, Callable[[int], bytes]] = {
            "normal": lambda number: part(self.image or make_jpeg(number)),
            "no_length": lambda number: part(make_jpeg(number), length=False),
            "oversize": lambda number: part(b"\xff\xd8" + b"x" * 300_000 + b"\xff\xd9"),
            "wrong_boundary": lambda number: part(make_jpeg(number), boundary="other", length=False),
            "zero_length": lambda number: part(make_jpeg(number)).replace(
                b"Content-Length: ", b"Content-Length: 0\r\nX-True-Length: "
            ),
            "bare": make_jpeg,
            "boundary_text": lambda number: part(
                make_jpeg(number)[:-2] + b"\r\n--picture\r\nContent-Type: image/jpeg\r\n\r\n" * 40_000, length=False
            ),
            "garbage": lambda number: bytes(range(256)) * 100,
            "plain": lambda number: b"<html>hello</html>",
        }
        while self._server is not None:
            if self.mode == "close":
                return
            if self.mode in writers:
                yield writers[self.mode](self.sent)
                self.sent += 1
            time.sleep(1 / self.fps)

    def _allowed(self, request: BaseHTTPRequestHandler) -> bool:
        given = request.headers.get("Authorization", "")
        self.authorizations.append(given)
        user, password = self.login
        if self.auth == "basic":
            return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        items = (item.partition("=") for item in given.removeprefix("Digest ").split(", "))
        fields = {key.strip(): value.strip('"') for key, _, value in items}

        def digest(text: str) -> str:
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        expected = digest(
            f"{digest(f'{user}:camera:{password}')}:n1:{fields.get('nc')}:{fields.get('cnonce')}:auth:"
            f"{digest('GET:' + request.path)}"
        )
        return given.startswith("Digest ") and fields.get("response") == expected
