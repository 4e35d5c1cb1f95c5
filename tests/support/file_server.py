"""A real HTTP server of files that can misbehave on request: cut off, answer errors, ignore ranges."""

from __future__ import annotations

import base64
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass
class FileServer:
    """Serves `files` (path without the first slash to content) at `url`; `requests` holds (path, Range header).

    `faults` are used up one per request: an int is a status to answer, `cut` stops after half of the content.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: deque[int | str] = field(default_factory=deque)
    ranges: bool = True
    login: str | None = None
    types: dict[str, str] = field(default_factory=dict)  # the content type of some files
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def __enter__(self) -> FileServer:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, wanted = handler.path.lstrip("/"), handler.headers.get("Range")
        self.requests.append((path, wanted))
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, int):
            handler.send_error(fault)
            return
        expected = f"Basic {base64.b64encode(self.login.encode()).decode()}" if self.login else None
        if expected and handler.headers.get("Authorization") != expected:
            handler.send_error(401)
            return
        content = self.files.get(path)
        if content is None:
            handler.send_error(404)
            return
        start = 0
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        body = content[start:]
        handler.send_header("Content-Length", str(len(body)))
        if path in self.types:
            handler.send_header("Content-Type", self.types[path])
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
        handler.close_connection = True
