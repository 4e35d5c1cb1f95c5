"""A network camera that sends MJPEG over HTTP. Its JPEGs pass through undecoded.

Called by `camera`. Everything that the camera sends is bounded: headers, parts, and redirects, which are followed only
to the same host because the password is sent again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import re
import socket
import ssl
import time
from collections import deque
from urllib.parse import urljoin, urlsplit

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.multipart import MultipartReader, boundary_of
from elastic_inference.adapters.source.opencv import trim_jpeg
from elastic_inference.base.settings.producer import CameraSettings
from elastic_inference.base.url import hide_password, url_credentials
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason, SourceError

MAX_REDIRECTS = 3
_READ_BYTES = 65536
_REDIRECTS = (301, 302, 303, 307, 308)
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


def open_source(settings: CameraSettings) -> MjpegSource:
    """Opens the camera of the settings. Raises SourceError."""
    return MjpegSource(settings.camera, settings.source_stall_s, settings.max_frame_bytes)


class MjpegSource:
    """An open MJPEG stream."""

    def __init__(self, url: str, stall_s: float, max_part_bytes: int) -> None:
        """Connects and reads the response headers, each within `stall_s`. Raises SourceError without secrets."""
        self._shown = hide_password(url)
        self._stall_s = stall_s
        self._max_part_bytes = max_part_bytes
        self._frame: CapturedFrame | None = None
        self._pending: deque[CapturedFrame] = deque()
        self._oversize = 0
        self._connection, self._socket, self._response = self._open(url)
        try:
            self._parts = MultipartReader(boundary_of(self._response.getheader("Content-Type", "")), max_part_bytes)
        except SourceError:
            self.close()
            raise

    def grab(self) -> None:
        """Waits for the next part. Raises SourceError at the end, after `stall_s` without a part, or if not MJPEG."""
        deadline = time.monotonic() + self._stall_s
        while not self._pending:
            if time.monotonic() > deadline:
                raise SourceError(f"The camera {self._shown} has sent no image for {self._stall_s:g} s.")
            try:
                data = self._response.read1(_READ_BYTES)
            except TimeoutError:
                raise SourceError(f"The camera {self._shown} has sent nothing for {self._stall_s:g} s.") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise SourceError(
                    f"The connection to the camera {self._shown} broke ({type(error).__name__})."
                ) from None
            if not data:
                raise SourceError(f"The camera {self._shown} has ended its stream.")
            ts, captured = time.time(), time.monotonic()
            self._pending.extend(CapturedFrame(ts, captured, jpeg=trim_jpeg(part)) for part in self._parts.feed(data))
            if self._parts.oversize > self._oversize:
                self._oversize = self._parts.oversize
                self._frame = None
                return
        self._frame = self._pending.popleft()

    def retrieve(self) -> CapturedFrame:
        """Returns the part. Raises InvalidFrameError if it was too large."""
        if self._frame is None:
            raise InvalidFrameError(
                InvalidReason.TOO_LARGE,
                f"the camera {self._shown} sends images of more than {self._max_part_bytes} bytes (MAX_FRAME_BYTES)",
            )
        return self._frame

    def interrupt(self) -> None:
        """Ends a blocked `grab`; safe to call from any thread."""
        with contextlib.suppress(OSError):
            # Shut down the TCP socket itself: a TLS shutdown would wait for a camera that no longer answers.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Closes the connection."""
        self._response.close()
        self._connection.close()

    def _open(self, url: str) -> tuple[http.client.HTTPConnection, socket.socket, http.client.HTTPResponse]:
        """Sends the request, follows redirects and answers a login challenge, until the camera answers 200."""
        user, password = url_credentials(url)
        authorization: str | None = None
        redirects = 0
        while True:
            connection, sock, response = self._ask(url, authorization)
            if response.status == 200:
                return connection, sock, response
            challenges = response.headers.get_all("WWW-Authenticate", [])
            location = response.getheader("Location", "")
            response.close()
            connection.close()
            if response.status in _REDIRECTS and location:
                url = self._redirect(url, location)
                redirects += 1
                if redirects > MAX_REDIRECTS:
                    raise SourceError(f"The camera {self._shown} redirects more than {MAX_REDIRECTS} times.")
                continue
            if response.status == 401 and authorization is None and user is not None:
                authorization = authorize(challenges, user, password or "", _request_target(url))
                if authorization is not None:
                    continue
            if response.status in (401, 403):
                raise SourceError(
                    f"The camera {self._shown} refuses the user name or password (HTTP {response.status}): "
                    "expected http://user:password@host/…"
                )
            raise SourceError(f"The camera {self._shown} answers HTTP {response.status}, expected 200.")

    def _ask(
        self, url: str, authorization: str | None
    ) -> tuple[http.client.HTTPConnection, socket.socket, http.client.HTTPResponse]:
        connection: http.client.HTTPConnection | None = None
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            if parts.scheme.lower() == "https":
                context = ssl.create_default_context()
                connection = http.client.HTTPSConnection(host, parts.port, timeout=self._stall_s, context=context)
            else:
                connection = http.client.HTTPConnection(host, parts.port, timeout=self._stall_s)
            connection.connect()
            # http.client drops its reference once the response is read; `interrupt` needs the socket.
            sock: socket.socket = connection.sock
            headers = {"Accept": "multipart/x-mixed-replace, */*;q=0.1", "User-Agent": "elastic-inference"}
            if authorization is not None:
                headers["Authorization"] = authorization
            connection.request("GET", _request_target(url), headers=headers)
            return connection, sock, connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            if connection is not None:
                connection.close()
            # Show only the text of an OSError: others quote the URL, whose query may hold a password.
            why = (error.strerror or str(error)) if isinstance(error, OSError) else type(error).__name__
            raise SourceError(f"The camera {self._shown} is unreachable: {why or type(error).__name__}.") from None

    def _redirect(self, url: str, location: str) -> str:
        try:
            old, new = urlsplit(url), urlsplit(urljoin(url, location))
            allowed = new.hostname == old.hostname and new.scheme in (old.scheme, "https")
        except ValueError:
            allowed = False
        if not allowed:
            raise SourceError(f"The camera {self._shown} redirects to another host, which is not followed.")
        return new.geturl()


def authorize(challenges: list[str], user: str, password: str, target: str) -> str | None:
    """Returns the Authorization header for a camera's challenges, or None if no scheme fits.

    Digest is preferred to Basic. It follows RFC 7616 with MD5 or SHA-256, and qop `auth` or none.
    """
    for challenge in challenges:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "digest":
            answer = _digest(rest, user, password, target)
            if answer is not None:
                return answer
    if any(challenge.lower().startswith("basic") for challenge in challenges):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return None


def _digest(challenge: str, user: str, password: str, target: str) -> str | None:
    fields = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(challenge)}
    algorithm = fields.get("algorithm", "MD5").upper()
    qualities = [part.strip().lower() for part in fields.get("qop", "").split(",") if part.strip()]
    if algorithm not in ("MD5", "SHA-256") or (qualities and "auth" not in qualities) or "nonce" not in fields:
        return None

    def digest(text: str) -> str:
        # Most cameras offer nothing better than MD5.
        return hashlib.new(algorithm.replace("-", ""), text.encode(), usedforsecurity=False).hexdigest()

    realm, nonce = fields.get("realm", ""), fields["nonce"]
    secret, request = digest(f"{user}:{realm}:{password}"), digest(f"GET:{target}")
    answer = {"username": user.replace("\\", "\\\\").replace('"', '\\"'), "realm": realm, "nonce": nonce, "uri": target}
    tail = ""
    if qualities:
        own = os.urandom(8).hex()
        answer["cnonce"] = own
        answer["response"] = digest(f"{secret}:{nonce}:00000001:{own}:auth:{request}")
        tail = ", qop=auth, nc=00000001"
    else:
        answer["response"] = digest(f"{secret}:{nonce}:{request}")
    if "opaque" in fields:
        answer["opaque"] = fields["opaque"]
    listed = ", ".join(f'{key}="{value}"' for key, value in answer.items())
    return f"Digest {listed}, algorithm={algorithm}{tail}"


def _request_target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
