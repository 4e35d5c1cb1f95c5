"""As much of HTTP/1.1 as probes and Prometheus need. Pure; called by `lifecycle`, for the health port.

Python's own server loads what parses mail and guesses types of files: a twentieth of a service's start.
"""

from __future__ import annotations

import time
from io import BufferedIOBase

MAX_HEAD_BYTES = 16 * 1024
PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class BadHealthRequestError(Exception):
    """A request that cannot be read; `status` is that of the response, after which the connection is closed."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class HealthRequest:
    """The head of a request. `path` is without its query; `keep` says whether another request may follow."""

    def __init__(self, method: str, path: str, headers: dict[str, str], *, keep: bool) -> None:
        self.method, self.path, self.headers, self.keep = method, path, headers, keep


def read_request(file: BufferedIOBase) -> HealthRequest | None:
    """The next request; None if the client has closed the connection. Raises BadHealthRequestError, OSError."""
    lines: list[str] = []
    left = MAX_HEAD_BYTES
    while True:
        line = file.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            if not left:
                raise BadHealthRequestError(431, f"expected a head of less than {MAX_HEAD_BYTES} bytes")
            return None
        text = line.decode("latin-1").rstrip("\r\n")
        if text:
            lines.append(text)
        elif lines:
            return _parse(lines)


def _parse(lines: list[str]) -> HealthRequest:
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadHealthRequestError(400, "expected a request of HTTP/1.1")
    method, target, version = parts
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    # No request that is served has a body. What follows one that has, is not read.
    body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    wanted = headers.get("connection", "" if version == "HTTP/1.1" else "close").lower()
    return HealthRequest(method, target.partition("?")[0], headers, keep="close" not in wanted and not body)


def response(status: int, body: bytes, content_type: str, *, keep: bool, only_head: bool = False) -> bytes:
    """A whole response; `only_head` leaves out the body, as the response to HEAD does."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    lines = [
        f"HTTP/1.1 {status} {PHRASES[status]}",
        f"Date: {date}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *([] if keep else ["Connection: close"]),
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + (b"" if only_head else body)
