"""A webhook's server that records what comes and answers as a test says."""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.support.outbox import Mark
from tests.support.ports import free_port


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def documents(self) -> list[Any]:
        """The events in it."""
        found = json.loads(self.body)
        return [each["data"] for each in found] if isinstance(found, list) else [found]


class WebhookServer:
    """`answer` returns status and headers for a request; only those answered with 2xx count as `got`.

    Without `keeps` it remembers nothing, for a server that runs long.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None, *, keeps: bool = True) -> None:
        self.port = port or free_port()
        self._tls = tls
        self._keeps = keeps
        self.requests: list[Received] = []
        self.got: list[Mark] = []
        self.answer: Callable[[Received], tuple[int, dict[str, str]]] = lambda _: (204, {})
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/events"

    def start(self) -> Self:
        """Listens."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                size = int(self.headers.get("content-length", 0))
                body = self.rfile.read(size)
                if len(body) < size:
                    self.close_connection = True  # the client has ended in the middle
                    return
                received = Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                status, headers = outer.answer(received)
                outer._note(received, status)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                if not isinstance(sys.exception(), OSError):
                    super().handle_error(request, client_address)  # type: ignore[arg-type]

        self._server = Server(("127.0.0.1", self.port), Handler)
        if self._tls is not None:
            # The handshake is the handler's: it must not keep other clients waiting.
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def _note(self, received: Received, status: int) -> None:
        if not self._keeps:
            return
        self.requests.append(received)
        if 200 <= status < 300:
            self.got += [(each["id"], each["rev"]) for each in received.documents]

    def stop(self) -> None:
        """Refuses connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
