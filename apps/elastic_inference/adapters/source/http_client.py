"""HTTP requests to a camera: login, certificates, redirects. Everything that the camera sends is bounded.

Called by `http_stream`. FFmpeg has its own HTTP client, but it supports neither SHA-256 logins nor fingerprints,
and checks no certificate by default.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from elastic_inference.adapters.source.http_login import HttpLogin
from elastic_inference.adapters.source.input_errors import NO_HTTP, UNKNOWN_NAME
from elastic_inference.adapters.source.tls_trust import Trust
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.url import hide_password, url_credentials
from elastic_inference.domain.errors import SourceError

MAX_REDIRECTS = 3
# For all answers until the camera sends its stream. A time-out of each read is not enough: a camera that sends a byte
# now and then would never be given up.
ANSWERS_S = 20.0
_REDIRECTS = (301, 302, 303, 307, 308)
# What a status means, and what to do.
_REFUSALS = {
    401: "refuses the user name or password ({}).",
    # The login may be right.
    403: "forbids access ({}): check the login and the camera's list of allowed clients.",
    404: "has no stream at this path ({}): look it up in the camera's manual.",
    429: "has too many connections ({}): close other viewers of it.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response with status 200, its connection and its TCP socket."""

    connection: http.client.HTTPConnection
    socket: socket.socket
    response: http.client.HTTPResponse
    # Set by `interrupt`: the data then did not end because of the camera.
    interrupted: threading.Event = field(default_factory=threading.Event)

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.response.getheader("Content-Type", "").partition(";")[0].strip().lower()

    def interrupt(self) -> None:
        """Ends a read that waits; safe to call from any thread."""
        self.interrupted.set()
        with contextlib.suppress(OSError):
            # Shut down the TCP socket itself: a TLS shutdown would wait for a camera that no longer answers.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection."""
        self.response.close()
        self.connection.close()


class HttpCamera:
    """One camera's URL, with its login and the certificate to trust."""

    def __init__(
        self, url: str, timeout_s: float, certificate: str | None = None, rules: AddressRules | None = None
    ) -> None:
        """`certificate` is a PEM file or `sha256:<fingerprint>`; each wait is at most `timeout_s`.

        `rules` apply to each connection, also after a redirect; it connects to the address that they have checked.
        """
        self._rules = rules
        self.shown = hide_password(url)
        self._url = url
        self._timeout_s = timeout_s
        self._trust = Trust(self.shown, certificate)
        user, password = url_credentials(url)
        self._login = None if user is None else HttpLogin(user, password or "")

    def get(self) -> Answer:
        """Sends the request, follows redirects and answers login challenges until the camera answers 200.

        Raises SourceError without secrets.
        """
        url, redirects, logins = self._url, 0, 0
        until = time.monotonic() + ANSWERS_S
        while True:
            answer = self._ask(url, until)
            status = answer.response.status
            if status == 200:
                return answer
            headers = answer.response.headers.get_all("WWW-Authenticate", [])
            location = answer.response.getheader("Location", "")
            answer.close()
            if status in _REDIRECTS and location:
                redirects += 1
                if redirects > MAX_REDIRECTS:
                    raise SourceError(f"The camera {self.shown} redirects more than {MAX_REDIRECTS} times.")
                url = self._redirect(url, location)
                continue
            if status == 401 and self._login is not None and self._may_log_in(headers, logins):
                logins += 1
                continue
            raise self._refusal(status)

    def _may_log_in(self, headers: list[str], logins: int) -> bool:
        login = self._login
        assert login is not None  # noqa: S101  the caller has looked
        # The first challenge, or one that only says that the nonce was too old.
        if logins and not (login.stale(headers) and logins < 3):
            return False
        missing = login.accept(headers)
        if missing is not None:
            raise SourceError(f"The camera {self.shown} can't be logged in to: {missing}.")
        return True

    def _refusal(self, status: int) -> SourceError:
        if status == 401 and self._login is None:
            return SourceError(
                f"The camera {self.shown} asks for a login (HTTP 401): expected http://user:password@host/…"
            )
        if status in _REFUSALS:
            why = _REFUSALS[status]
        elif 400 <= status < 500:
            why = "refuses the request ({}): check the URL."
        elif 500 <= status < 600:
            why = "reports an error of its own ({}): restart it if this continues."
        else:
            why = "answers {}, expected 200."
        return SourceError(f"The camera {self.shown} {why.format(f'HTTP {status}')}")

    def _ask(self, url: str, until: float) -> Answer:
        connection: http.client.HTTPConnection | None = None
        reader: _InTime | None = None
        parts = urlsplit(url)
        host = parts.hostname or ""
        address = host if self._rules is None else self._rules.resolve(host)
        try:
            tls = parts.scheme.lower() == "https"
            connection = http.client.HTTPConnection(host, parts.port or (443 if tls else 80), timeout=self._timeout_s)
            if tls:
                connection.sock = self._trust.connect(host, parts.port or 443, self._timeout_s, address)
            else:
                connection.sock = socket.create_connection((address, parts.port or 80), self._timeout_s)
            # http.client drops its reference once the response is read; `interrupt` needs the socket.
            sock: socket.socket = connection.sock
            reader = _InTime(sock, until, self._timeout_s)
            connection.response_class = reader.response  # type: ignore[assignment]  # anything that makes one will do
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"Accept": "multipart/x-mixed-replace, */*;q=0.1", "User-Agent": "elastic-inference"}
            if self._login is not None and (authorization := self._login.header("GET", target)):
                headers["Authorization"] = authorization
            connection.request("GET", target, headers=headers)
            answer = Answer(connection, sock, connection.getresponse())
            reader.end()
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            for each in (reader, connection):
                if each is not None:
                    each.close()
            raise SourceError(f"The camera {self.shown} {_reason(error)}") from None

    def _redirect(self, url: str, location: str) -> str:
        try:
            old, new = urlsplit(url), urlsplit(urljoin(url, location))
            allowed = new.hostname == old.hostname and new.scheme in (old.scheme, "https")
        except ValueError:
            allowed = False
        if not allowed:
            raise SourceError(f"The camera {self.shown} redirects to another host, which is not followed.")
        return new.geturl()


class _InTime(io.RawIOBase):
    """Reads from a socket until a time; after `end`, without one."""

    def __init__(self, sock: socket.socket, until: float, timeout_s: float) -> None:
        self._sock = sock
        # The socket stays open until this is closed, although the connection closes it after the head.
        self._raw = sock.makefile("rb", buffering=0)
        self._until: float | None = until
        self._timeout_s = timeout_s

    def response(self, sock: Any, *args: Any, **more: Any) -> http.client.HTTPResponse:
        """A response that is read from here."""
        found = http.client.HTTPResponse(sock, *args, **more)
        found.fp.close()
        found.fp = io.BufferedReader(self)
        return found

    def end(self) -> None:
        """What comes now may take any time; each read still has the usual time-out."""
        self._until = None
        self._sock.settimeout(self._timeout_s)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is not None:
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._sock.settimeout(min(left_s, self._timeout_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _reason(error: Exception) -> str:
    """What went wrong, and what to do. Only an OSError's own text is shown: others quote the URL and its query."""
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection: is the port right, and the service running?"
    if isinstance(error, TimeoutError):
        return "did not answer in time: is it switched on and reachable from here?"
    if isinstance(error, socket.gaierror):
        return UNKNOWN_NAME
    if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
        return NO_HTTP
    why = (error.strerror or str(error)) if isinstance(error, OSError) else ""
    return f"is unreachable: {why or type(error).__name__}."
