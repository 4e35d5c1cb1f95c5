"""Stands between FFmpeg and HLS: FFmpeg follows every name and redirect, trusts every server and takes what comes.

Called by `network`. FFmpeg asks this proxy on loopback for each playlist, segment and key, always by plain HTTP. The
proxy checks the address, if rules apply, connects with TLS where the camera's URL, a playlist or a redirect says
`https`, and bounds how much comes. FFmpeg's own TLS is not used: of playlists' entries it checks no certificate.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import re
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from elastic_inference.adapters.source.input_errors import NO_HTTP, source_error
from elastic_inference.adapters.source.playlist_guard import PlaylistBytes, PlaylistGuard
from elastic_inference.adapters.source.tls_trust import Trust
from elastic_inference.adapters.source.unfinished import Unfinished
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.url import in_brackets
from elastic_inference.domain.errors import SourceError

CONNECT_S = 5.0
# FFmpeg gives up before, and then everything is closed.
_READ_S = 120.0
_COPY_BYTES = 65536
_MAX_HEAD_BYTES = 16384
_MAX_ANSWER_HEAD_BYTES = 32768
_COMPRESSED = "compresses what it sends although nobody asked for that: turn compression off."
_MAX_CONNECTIONS = 16
# Servers with TLS that the playlists of one camera may name.
_MAX_SECURE = 64
HTTPS_PORT = 443
_REQUEST = re.compile(rb"([A-Z]{3,8}) (\S{1,4096}) (HTTP/1\.[01])\r\n")
_HTTP_URL = re.compile(rb"http://(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]?#]+)(?::(\d{1,5}))?([/?]\S*)?")
# An address at the begin of a line, in quotes, or in a redirect; not one within the query of another.
_SECURE = re.compile(
    rb"(?im)((?:^[ \t]{0,8}|^location:[ \t]{0,8}|[\"']))https://((?:[^\s/?#@\"',]{1,256}@)?)"
    rb"(\[[0-9A-Fa-f:.]{2,64}\]|[^\s/:@\[\]?#\"',]{1,255})(?::(\d{1,5}))?"
)


class HlsProxy:
    """A loopback HTTP proxy for one camera. One request per connection; `close` ends it with all of them."""

    def __init__(self, what: str, trust: Trust, rules: AddressRules | None = None) -> None:
        """Without `rules`, every address is allowed. `what` names the camera in errors."""
        # FFmpeg would not use the proxy for names in it.
        os.environ.pop("no_proxy", None)
        self._what = what
        self._trust = trust
        self._rules = rules
        self._secure: set[tuple[str, int]] = set()
        # Why the last address, or what came from it, was refused; empty if none was.
        self._refusal = ""
        # Why there is no connection to it, until a frame comes.
        self._unreachable = ""
        self._playlists = PlaylistBytes()
        # FFmpeg begins to read each variant of a stream.
        self._unfinished = Unfinished(what, times=2)
        self._places = threading.Semaphore(_MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_MAX_CONNECTIONS)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="camera-proxy", daemon=True).start()

    @property
    def url(self) -> str:
        """For FFmpeg's option `http_proxy`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def refused(self) -> str:
        """Why an address, or what came from it, was refused, or could not be reached; empty if none."""
        return self._refusal or self._unreachable

    def plain(self, url: str) -> str:
        """The URL at which FFmpeg finds this one through the proxy."""
        return self._plain(url.encode()).decode() if urlsplit(url).scheme.lower() == "https" else url

    def resetting(self, on_data: Callable[[], None]) -> Callable[[], None]:
        """`on_data`, which is called for each packet, with a reset of what may come without one."""

        def both() -> None:
            self._playlists.count = 0
            self._unreachable = ""
            on_data()

        return self._unfinished.resetting(both)

    def close(self) -> None:
        """Ends everything; safe to call from any thread, and twice."""
        with self._lock:
            self._closed = True
            ends = [self._listener, *self._open]
        for each in ends:
            with contextlib.suppress(OSError):
                # Not a TLS shutdown, which waits for the camera.
                socket.socket.shutdown(each, socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                client = self._keep(self._listener.accept()[0])
                if self._places.acquire(blocking=False):
                    threading.Thread(target=self._serve, args=(client,), name="camera-proxy", daemon=True).start()
                else:
                    self._drop(client)

    def _serve(self, client: socket.socket) -> None:
        camera: socket.socket | None = None
        try:
            client.settimeout(CONNECT_S)
            host, port, request = _target(*_read_head(client))
            client.settimeout(None)
            camera = self._connect(host, port)
            camera.settimeout(_READ_S)
            camera.sendall(request)
            with http.client.HTTPResponse(camera) as response:
                response.fp.close()
                response.fp = io.BufferedReader(_Counted(camera, self._unfinished), _COPY_BYTES)
                response.begin()
                self._answer(client, response)
        except SourceError as error:
            self._refusal = str(error)
            _refuse(client, b"403 Forbidden")
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
                self._unreachable = f"{self._what} {NO_HTTP}"
            _refuse(client, b"502 Bad Gateway")
        finally:
            self._drop(client, *([camera] if camera else []))
            self._places.release()

    def _connect(self, host: str, port: int) -> socket.socket:
        address = host if self._rules is None else self._rules.resolve(host)
        try:
            if (host, port) in self._secure:
                return self._keep(self._trust.connect(host, port, CONNECT_S, address))
            return self._keep(socket.create_connection((address, port), CONNECT_S))
        except OSError as error:
            self._unreachable = str(source_error(self._what, error))
            raise

    def _answer(self, client: socket.socket, response: http.client.HTTPResponse) -> None:
        """Passes an answer on; of a playlist, as a whole. Raises SourceError if it is refused."""
        head = self._head(response)
        guard = PlaylistGuard(self._playlists)
        playlist = bytearray()
        begun = False
        while data := response.read1(_COPY_BYTES):
            if not guard.allows(data):
                raise SourceError(f"{self._what} {guard.refusal}")
            if guard.is_playlist:
                playlist += data
                continue
            client.sendall(data if begun else b"%b\r\n%b" % (head, data))
            begun = True
        if playlist:
            if refusal := self._playlists.add_versions(bytes(playlist)):
                raise SourceError(f"{self._what} {refusal}")
            text = self._plain(bytes(playlist))
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
            client.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (b"\r\n".join(lines), len(text), text))
        elif not begun:
            client.sendall(b"%b\r\n" % head)

    def _head(self, response: http.client.HTTPResponse) -> bytes:
        """The answer's first lines, without what holds for the camera's connection alone. Raises SourceError."""
        if response.getheader("Content-Encoding", "").strip().lower() not in ("", "identity"):
            # A few megabytes could become gigabytes.
            raise SourceError(f"{self._what} {_COMPRESSED}")
        lines = [f"HTTP/1.1 {response.status} {response.reason}", "Connection: close"]
        for name, value in response.getheaders():
            if name.lower() not in ("connection", "keep-alive", "transfer-encoding", "upgrade"):
                lines.append(f"{name}: {' '.join(value.split())}")
        head = "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")
        if len(head) > _MAX_ANSWER_HEAD_BYTES:
            raise SourceError(f"{self._what} {NO_HTTP}")
        return self._plain(head) if 300 <= response.status < 400 else head

    def _plain(self, text: bytes) -> bytes:
        """The text with `http` for each `https`; this proxy remembers for which servers. Raises SourceError.

        FFmpeg does not open what is left, since it may not use TLS.
        """
        return _SECURE.sub(self._remember, text)

    def _remember(self, found: re.Match[bytes]) -> bytes:
        host, port = found[3].decode("latin-1").strip("[]"), int(found[4] or HTTPS_PORT)
        if len(self._secure) >= _MAX_SECURE and (host, port) not in self._secure:
            raise SourceError(f"{self._what} names more than {_MAX_SECURE} servers: expected one, or a few.")
        self._secure.add((host, port))
        return b"%bhttp://%b%b:%d" % (found[1], found[2], in_brackets(host).encode("latin-1"), port)

    def _keep(self, end: socket.socket) -> socket.socket:
        with self._lock:
            self._open.add(end)
            closed = self._closed
        if closed:
            end.close()
        return end

    def _drop(self, *ends: socket.socket) -> None:
        for each in ends:
            each.close()
        with self._lock:
            self._open.difference_update(ends)


class _Counted(io.RawIOBase):
    """What a camera sends, counted as it comes: http.client reads any number of interim answers and trailers."""

    def __init__(self, sock: socket.socket, unfinished: Unfinished) -> None:
        self._raw = sock.makefile("rb", buffering=0)
        self._unfinished = unfinished

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)
        if count and not self._unfinished.add(count):
            raise SourceError(self._unfinished.error)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _refuse(client: socket.socket, status: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """(the request's head with its empty line, the bytes after it). Raises OSError or ValueError."""
    seen = b""
    while (end := seen.find(b"\r\n\r\n")) < 0:
        data = client.recv(_MAX_HEAD_BYTES)
        seen += data
        if not data or len(seen) > _MAX_HEAD_BYTES:
            raise ValueError("no request")
    return seen[: end + 4], seen[end + 4 :]


def _target(head: bytes, rest: bytes = b"") -> tuple[str, int, bytes]:
    """(host, port, request for the camera) of a request to a proxy. Raises ValueError."""
    request = _REQUEST.match(head)
    if request is None:
        raise ValueError("no request")
    found = _HTTP_URL.fullmatch(request[2])
    if found is None:
        raise ValueError("no address")
    host, port = found[1].decode("ascii").strip("[]"), int(found[2] or 80)
    path = found[3] or b"/"
    path = path if path.startswith(b"/") else b"/" + path
    lines = [line for line in head[request.end() : -4].split(b"\r\n") if line and not _is_of_connection(line)]
    if port == HTTPS_PORT:
        # As FFmpeg would write it for https.
        lines = [line.removesuffix(b":443") if line.lower().startswith(b"host:") else line for line in lines]
    first = b"%b %b %b" % (request[1], path, request[3])
    return host, port, b"\r\n".join([first, *lines, b"Connection: close"]) + b"\r\n\r\n" + rest


def _is_of_connection(line: bytes) -> bool:
    name = line.partition(b":")[0].strip().lower()
    return name in (b"connection", b"keep-alive", b"upgrade") or name.startswith(b"proxy-")
