"""Asks an RTSP camera for what FFmpeg does not report: the login methods it offers, and its stream description.

Called by `network`. Everything that the camera sends is bounded.
"""

from __future__ import annotations

import re
import socket
import time
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from elastic_inference.adapters.source.http_login import HttpLogin
from elastic_inference.adapters.source.tls_trust import Trust
from elastic_inference.base.address_rules import AddressRules
from elastic_inference.base.url import hide_password, url_credentials
from elastic_inference.domain.errors import SourceError

RTSP_PORT, RTSPS_PORT = 554, 322
_MAX_BYTES = 65536
_STATUS = re.compile(r"RTSP/1\.\d (\d{3})")


class RtspAnswer(NamedTuple):
    """The answer to DESCRIBE: `challenges` are the headers of a 401."""

    status: int
    challenges: list[str]
    description: str


def ask(
    url: str,
    limit_s: float,
    certificate: str | None = None,
    rules: AddressRules | None = None,
    *,
    login: bool = True,
) -> RtspAnswer | None:
    """Asks the camera to describe its stream; None if it does not speak RTSP, or `rules` refuse its address.

    With `login`, a login in the URL is used where the camera asks for one: Digest wherever that is offered.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    until = time.monotonic() + limit_s
    try:
        address = host if rules is None else rules.resolve(host)
        if parts.scheme.lower() == "rtsps":
            connection: socket.socket = Trust(hide_password(url), certificate).connect(
                host, parts.port or RTSPS_PORT, limit_s, address
            )
        else:
            connection = socket.create_connection((address, parts.port or RTSP_PORT), limit_s)
        with connection:
            target = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
            answer = _request(connection, target, 1, None, until)
            user, password = url_credentials(url)
            if not login or answer.status != 401 or user is None:
                return answer
            made = HttpLogin(user, password or "")
            if made.accept(answer.challenges) is not None:
                return answer
            return _request(connection, target, 2, made.header("DESCRIBE", target), until)
    except (OSError, ValueError, SourceError):
        return None


def _request(connection: socket.socket, target: str, number: int, login: str | None, until: float) -> RtspAnswer:
    """Raises OSError, or ValueError for an answer that is not RTSP's."""
    lines = [f"DESCRIBE {target} RTSP/1.0", f"CSeq: {number}", "Accept: application/sdp"]
    lines += ["User-Agent: elastic-inference", *([f"Authorization: {login}"] if login else [])]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += _read(connection, len(data), until)
    head, _, body = data.partition(b"\r\n\r\n")
    begin, *headers = head.decode("latin-1").split("\r\n")
    status = _STATUS.match(begin)
    if status is None:
        raise ValueError("not RTSP")
    named = [(name.strip().lower(), value.strip()) for name, _, value in (each.partition(":") for each in headers)]
    length = int(dict(named).get("content-length", "0"))
    while len(body) < min(length, _MAX_BYTES):
        body += _read(connection, len(head) + len(body), until)
    headers = [value for name, value in named if name == "www-authenticate"]
    return RtspAnswer(int(status[1]), headers, body.decode("latin-1"))


def _read(connection: socket.socket, had: int, until: float) -> bytes:
    left_s = until - time.monotonic()
    if had > 2 * _MAX_BYTES or left_s <= 0:
        raise OSError("too much, or too slow")
    connection.settimeout(left_s)
    data = connection.recv(4096)
    if not data:
        raise OSError("ended")
    return data
