"""What FFmpeg does not say of an RTMP server: why it refuses a stream. And what it would tell the server wrongly.

Called by `network`, through whose loopback port every RTMP stream comes.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from elastic_inference.base.url import in_brackets

RTMP_PORTS = {"rtmp": 1935, "rtmps": 443}
# The answers before the video: a handshake of 3 KB for each connection, and some hundred bytes.
_MAX_BYTES = 32768
# Messages come in pieces, and each begins with a byte over 127, which no code contains.
_PIECE_HEADS = bytes(range(128, 256))
_CODE = re.compile(rb"Net(?:Connection\.Connect|Stream\.Play)\.([A-Za-z]{1,32})")
_GOOD = (b"Success", b"Start", b"Reset", b"PublishNotify")


class RtmpAnswers:
    """Reads along what a server sends, until the video starts."""

    def __init__(self) -> None:
        self._text = b""

    def allows(self, data: bytes) -> bool:
        """Notes the next piece; always true."""
        if len(self._text) < _MAX_BYTES:
            self._text += data.translate(None, _PIECE_HEADS)[:_MAX_BYTES]
        return True

    def refusal(self, has_login: bool) -> str:
        """What the server has said against it, as the end of a sentence; empty if nothing."""
        codes = [match for match in _CODE.finditer(self._text) if match[1] not in _GOOD]
        if not codes:
            return ""
        code = codes[-1][0].decode("ascii")
        if b"authfailed" in self._text or b"nosuchuser" in self._text:
            return "refuses the user name or password: check the login in its URL."
        if b"need auth" in self._text and not has_login:
            return "asks for a login: expected rtmp://user:password@host/…"
        if code.startswith("NetStream"):
            return f"has no stream at this path ({code}): look up the path in the camera's manual."
        return f"refuses the connection ({code}): check the path and the login in its URL."


def rtmp_application(url: str) -> str:
    """What FFmpeg is to tell the server as the URL of its application: servers look for a virtual host in it.

    FFmpeg would take it from the address at which it connects. Which part of the path it is: `rtmp_open` of FFmpeg.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    first, _, rest = f"{parts.path}?{parts.query}".removesuffix("?").lstrip("/").partition("/")
    second, slash, _ = rest.partition("/")
    if not rest:
        first = ""
    elif slash and ":" not in second:
        first = f"{first}/{second}"
    return f"{scheme}://{in_brackets(parts.hostname or '')}:{parts.port or RTMP_PORTS[scheme]}/{first}"
