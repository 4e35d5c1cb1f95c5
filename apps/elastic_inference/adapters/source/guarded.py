"""Inspects what an RTSP camera of the pool sends: FFmpeg follows redirects and sends packets where an answer says.

Called by `network`. RTSP over TCP goes through a port on loopback (`forwarder`) that connects to the address that was
checked, and closes on a redirect or on data that is not RTSP.
"""

from __future__ import annotations

import re

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
