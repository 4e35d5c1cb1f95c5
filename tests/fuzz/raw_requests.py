"""Requests that no HTTP library would send, to the running gateway and websocket server.

Each is answered with a status other than 500, or the connection is closed; and the log shows no unhandled exception.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from tests.fuzz.outcome import Outcome
from tests.fuzz.services import Services
from tests.fuzz.with_hypothesis import run_check

_METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "get", "GE\x00T", "", "CONNECT", "TRACE"]
_PATHS = ["/", "/healthz", "/api/streams", "/api/events", "/api/login", "/api/session", "/index.html", "/..%2f..%2fx"]
_NAMES = [
    *("Host", "Authorization", "Cookie", "Origin", "Accept-Encoding", "If-None-Match", "Range", "Content-Type"),
    *("Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Sec-WebSocket-Key", "Sec-WebSocket-Version"),
    *("Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
    *("X-Forwarded-Prefix", "Forwarded", "Expect", "Last-Event-ID", "X-Odd", "", " bad name"),
]
_VALUES = [
    *("*", "gzip;q=0", "bytes=0-5,9-", 'W/"x"', "upgrade", "websocket", "dGhlIHNhbXBsZSBub25jZQ==", "13", "chunked"),
    *("0", "5", "-1", "99999999999999999999", "application/json", "example.org:99999", "[::1", "https://[x", "null"),
    *(
        "Bearer ",
        "Bearer é",
        "ei_session=1.2.3.4; ei_session",
        "for=[::1]:x;host=a",
        "100-continue",
        "permessage-deflate",
    ),
]


def requests(stream_id: str, token: str) -> st.SearchStrategy[bytes]:
    """Heads and bodies of HTTP requests, most of them wrong somewhere."""
    text = st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20)
    path = st.one_of(
        st.sampled_from([*_PATHS, f"/{stream_id}", f"/api/streams/{stream_id}", f"/{stream_id}/snapshot.jpg"]),
        text.map(lambda each: "/" + each),
        text,
    )
    query = st.just("") | st.sampled_from(["?format=json", "?format=\xff", "?%ff=%", "?" + "a&" * 40])
    version = st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/9.9", ""])
    header = st.tuples(st.sampled_from(_NAMES), st.sampled_from(_VALUES) | text)
    login = [("Authorization", f"Bearer {token}")] if token else []
    body = st.sampled_from([b"", b"{}", b'{"token":1}', b"\xff" * 20, b"[" * 2000]) | st.binary(max_size=30)

    def packed(parts: tuple[str, str, str, str, Sequence[tuple[str, str]], bool, bytes]) -> bytes:
        method, target, asked, spoken, headers, known, content = parts
        lines = [f"{method} {target}{asked} {spoken}", *(["Host: localhost"] if known else [])]
        lines += [f"{name}: {value}" for name, value in [*(login if known else []), *headers]]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content

    parts = st.tuples(
        st.sampled_from(_METHODS), path, query, version, st.lists(header, max_size=6), st.booleans(), body
    )
    return parts.map(packed)


def _exchange(port: int, request: bytes) -> bytes:
    """The start of the answer; empty if the server closed the connection, or waits for more of the request."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, contextlib.suppress(OSError):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(4096)
    return b""


def _run(services: Services, name: str, port: int, examples: int, number: int) -> Outcome:
    def check(request: bytes) -> None:
        answer = _exchange(port, request)
        assert not answer or answer.startswith(b"HTTP/1.1 "), answer
        assert answer[9:12] != b"500", answer

    outcome = run_check(name, requests(services.stream_id, services.token), check, examples, number)
    outcome.find = outcome.find or services.problem()
    return outcome


def runs(services: Services) -> list[Callable[[int, int], Outcome]]:
    """For each server, a function that takes the number of requests and their seed."""
    kind = "with" if services.token else "without"
    found = [functools.partial(_run, services, f"requests to the gateway, {kind} a token", services.gateway_port)]
    if not services.token:
        # It does not use tokens: once is enough.
        found.append(functools.partial(_run, services, "requests to the websocket server", services.websocket_port))
    return list(found)
