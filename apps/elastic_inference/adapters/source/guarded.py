"""Stands between FFmpeg and a camera: FFmpeg resolves names, follows redirects and takes what comes, all by itself.

Called by `network`. RTSP over TCP goes through a port on loopback (`forwarder`) that connects to the address that was
checked, and closes on a redirect or on data that is not RTSP. HLS goes through a proxy on loopback, which checks the
address of each playlist, segment and key, if rules apply, and how much comes.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
from collections.abc import Callable

from elastic_inference.adapters.source.input_errors import source_error
from elastic_inference.adapters.source.playlist_guard import PlaylistBytes, PlaylistGuard
from elastic_inference.adapters.source.unfinished import Unfinished
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.domain.errors import SourceError

CONNECT_S = 5.0
_COPY_BYTES = 65536
_MAX_HEAD_BYTES = 16384
_MAX_CONNECTIONS = 16
_REQUEST = re.compile(rb"([A-Z]{3,8}) (\S{1,4096}) (HTTP/1\.[01])\r\n")
_HTTP_URL = re.compile(rb"http://(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]?#]+)(?::(\d{1,5}))?([/?]\S*)?")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):(\d{1,5})")
# A status line that FFmpeg would take for a redirect.
_REDIRECT = re.compile(rb"RTSP/[^\s]{0,16}[ \t]{1,8}[+0]{0,8}3\d\d")
_LONGEST_LINE = 48
# Of an RTSP server before the first packet of video: a few answers, one of them with a description.
_MAX_TEXT_BYTES = 128 * 1024
_TRANSPORT = re.compile(rb"(?im)^(transport[ \t]*:[^\r\n]*)\r?\n")
_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*(\d{1,7})[ \t]*\r?$")


class RtspGuard:
    """Inspects what an RTSP server sends. `refusal` says why the connection must end.

    FFmpeg would follow a redirect to any address. It reads what comes before the video byte by byte: a server that
    sends something else would keep a core busy.
    """

    def __init__(self, *, video_elsewhere: bool = False) -> None:
        """`video_elsewhere`: the video comes by UDP, so this connection carries only answers."""
        self.refusal = ""
        self._tail = b""
        self._video_elsewhere = video_elsewhere
        # Everything received before the video, until it starts.
        self._text: bytes | None = b""
        self._text_bytes = 0
        self._answered = False

    def allows(self, data: bytes) -> bool:
        """Whether `data`, the next piece, may pass."""
        seen = self._tail + data
        self._tail = seen[-_LONGEST_LINE:]
        if b"RTSP/" in seen and _REDIRECT.search(seen) is not None:
            self.refusal = "redirects to another address, which is not followed."
        elif self._text is not None and not self._opens(self._text + data, len(data)):
            self.refusal = "does not answer as RTSP does: check the port and the scheme of its URL."
        return not self.refusal

    def _opens(self, text: bytes, more: int) -> bool:
        """Whether these can be the answers of an RTSP server, up to the first packet of video."""
        self._text_bytes += more
        while text := text.lstrip():
            if text[:1] == b"$" and self._answered:
                self._text = None
                return True
            if not self._answered and text[:5] != b"RTSP/"[: len(text)]:
                return False
            end = text.find(b"\r\n\r\n")
            if end < 0:
                break
            length = _LENGTH.search(text, 0, end + 2)
            after = end + 4 + int(length[1] if length else 0)
            if after > len(text):
                break
            self._answered, text = True, text[after:]
            if self._video_elsewhere:
                self._text_bytes = len(text)
        self._text = text
        return self._text_bytes <= _MAX_TEXT_BYTES


class RtspPeer:
    """Rewrites answers so that FFmpeg expects the UDP video from the camera's own address, and no other.

    FFmpeg sends packets to the address that an answer names, whatever it is.
    """

    def __init__(self, address: str) -> None:
        self._source = address.encode()
        self._head = b""
        self._body_left = 0

    def rewrite(self, data: bytes) -> bytes:
        """The next piece for FFmpeg; an incomplete head is held back."""
        out, rest = b"", self._head + data
        while rest:
            if self._body_left:
                body, rest = rest[: self._body_left], rest[self._body_left :]
                self._body_left -= len(body)
                out += body
                continue
            end = rest.find(b"\r\n\r\n")
            if end < 0:
                break
            head, rest = rest[: end + 4], rest[end + 4 :]
            length = _LENGTH.search(head)
            self._body_left = int(length[1]) if length else 0
            out += _TRANSPORT.sub(self._named, head)
        self._head = rest
        return out

    def _named(self, line: re.Match[bytes]) -> bytes:
        kept = [
            each for each in line[1].split(b";") if not each.strip().lower().startswith((b"source", b"destination"))
        ]
        return b";".join([*kept, b"source=" + self._source]) + b"\r\n"


class _Loopback:
    """A listener on loopback, served by a thread; `close` ends it with all of its connections."""

    def __init__(self, backlog: int, timeout_s: float | None) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        self._listener.settimeout(timeout_s)
        self.port: int = self._listener.getsockname()[1]

    def close(self) -> None:
        """Ends everything; safe to call from any thread, and twice."""
        with self._lock:
            self._closed = True
            ends = [self._listener, *self._open]
        for each in ends:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                each.close()

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


class GuardedProxy(_Loopback):
    """A loopback HTTP proxy for one camera: CONNECT for https, absolute URLs for http. One request per connection."""

    def __init__(self, rules: AddressRules | None, what: str) -> None:
        """Without `rules`, every address is allowed. `what` names the camera in errors."""
        super().__init__(_MAX_CONNECTIONS, None)
        # FFmpeg would not use the proxy for names in it.
        os.environ.pop("no_proxy", None)
        self._rules = rules
        self._what = what
        # Why the last address, or what came from it, was refused; empty if none was.
        self._refusal = ""
        # Why there is no connection to it, until a frame comes.
        self._unreachable = ""
        self._playlists = PlaylistBytes()
        # FFmpeg begins to read each variant of a stream.
        self._unfinished = Unfinished(what, times=2)
        self._places = threading.Semaphore(_MAX_CONNECTIONS)
        threading.Thread(target=self._accept, name="camera-proxy", daemon=True).start()

    @property
    def url(self) -> str:
        """For FFmpeg's option `http_proxy`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def refused(self) -> str:
        """Why an address, or what came from it, was refused, or could not be reached; empty if none."""
        return self._refusal or self._unreachable

    def resetting(self, on_data: Callable[[], None]) -> Callable[[], None]:
        """`on_data`, which is called for each packet, with a reset of what may come without one."""

        def both() -> None:
            self._playlists.count = 0
            self._unreachable = ""
            on_data()

        return self._unfinished.resetting(both)

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
            head, rest = _read_head(client)
            host, port, first = _target(head)
            address = host if self._rules is None else self._rules.resolve(host)
            try:
                camera = self._keep(socket.create_connection((address, port), CONNECT_S))
            except OSError as error:
                self._unreachable = str(source_error(self._what, error))
                raise
            if first:
                camera.sendall(first + rest)
            else:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                camera.sendall(rest)
            client.settimeout(None)
            camera.settimeout(None)
            # A second request over plain HTTP could be for another host, so only the first one is passed on.
            guard = PlaylistGuard(self._playlists) if first else None
            _copy(client, camera, lambda data: self._allows(guard, data), up=not first)
        except SourceError as error:
            self._refusal = str(error)
            with contextlib.suppress(OSError):
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            self._drop(client, *([camera] if camera else []))
            self._places.release()

    def _allows(self, guard: PlaylistGuard | None, data: bytes) -> bool:
        if guard is not None and not guard.allows(data):
            self._refusal = f"{self._what} {guard.refusal}"
        elif not self._unfinished.add(len(data)):
            self._refusal = self._unfinished.error
        else:
            return True
        return False


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """(the request's head with its empty line, the bytes after it). Raises OSError or ValueError."""
    seen = b""
    while (end := seen.find(b"\r\n\r\n")) < 0:
        data = client.recv(_MAX_HEAD_BYTES)
        seen += data
        if not data or len(seen) > _MAX_HEAD_BYTES:
            raise ValueError("no request")
    return seen[: end + 4], seen[end + 4 :]


def _target(head: bytes) -> tuple[str, int, bytes]:
    """(host, port, head for the camera; empty for CONNECT) of a request to a proxy. Raises ValueError."""
    request = _REQUEST.match(head)
    if request is None:
        raise ValueError("no request")
    found = (_AUTHORITY if request[1] == b"CONNECT" else _HTTP_URL).fullmatch(request[2])
    if found is None:
        raise ValueError("no address")
    host, port = found[1].decode("ascii").strip("[]"), int(found[2] or 80)
    if request[1] == b"CONNECT":
        return host, port, b""
    path = found[3] or b"/"
    path = path if path.startswith(b"/") else b"/" + path
    lines = [line for line in head[request.end() : -4].split(b"\r\n") if line and not _is_of_connection(line)]
    return (
        host,
        port,
        b"\r\n".join([b"%b %b %b" % (request[1], path, request[3]), *lines, b"Connection: close"]) + (b"\r\n\r\n"),
    )


def _is_of_connection(line: bytes) -> bool:
    name = line.partition(b":")[0].strip().lower()
    return name in (b"connection", b"keep-alive", b"upgrade") or name.startswith(b"proxy-")


def _copy(client: socket.socket, camera: socket.socket, allows: Callable[[bytes], bool], *, up: bool = True) -> None:
    """Copies until one side ends, or `allows` refuses what the camera sends. `up`: from the client too."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    poll.register(camera, select.POLLIN)
    while client.fileno() >= 0 and camera.fileno() >= 0:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if client.fileno() in ready:
            data = client.recv(_COPY_BYTES)
            if not data:
                return
            if up:
                camera.sendall(data)
        if camera.fileno() in ready:
            data = camera.recv(_COPY_BYTES)
            if not data or not allows(data):
                return
            client.sendall(data)
