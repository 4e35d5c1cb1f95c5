"""Logs FFmpeg in to RTSP cameras whose login it cannot answer: Digest with SHA-256 and others. Pure: bytes in and out.

Called by `forwarder`, through which FFmpeg then reaches the camera, and by `network`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from elastic_inference.adapters.source.http_login import HttpLogin, challenges

# A request or an answer in text, with its body.
MAX_TEXT_BYTES = 262144
_TRIES = 3
_LENGTH = re.compile(rb"(?im)^content-length *: *(\d{1,9})")
_CHALLENGE = re.compile(rb"(?im)^www-authenticate *: *([^\r\n]*)")
_AUTHORIZATION = re.compile(rb"(?im)^authorization *:[^\r\n]*\r\n")


def ffmpeg_can_answer(headers: list[str]) -> bool:
    """Whether FFmpeg answers these challenges, and answers Digest where that is offered.

    It reads only the first challenge of each header, uses the last Digest, knows only MD5, and finds the quality of
    protection `auth` only if it comes first. It uses Basic if it has found no Digest.
    """
    firsts = [found[0] for found in map(challenges, ([header] for header in headers)) if found]
    digests = [each for each in firsts if each.scheme == "digest"]
    if not digests:
        return not any(each.scheme == "digest" for each in challenges(headers))
    fields = digests[-1].fields
    quality = fields.get("qop", "auth").partition(",")[0].strip().lower()
    return fields.get("algorithm", "MD5").upper() in ("MD5", "MD5-SESS") and quality in ("auth", "")


class RtspLogin:
    """One connection's login. `missing` says why the camera's challenges can't be answered, None if they can."""

    def __init__(self, user: str, password: str, local: str, camera: str) -> None:
        """`local` and `camera` are the host and port to which FFmpeg connects, and those that the camera knows."""
        self._login = HttpLogin(user, password)
        self._local = f"rtsp://{local}/".encode()
        self._camera = f"rtsp://{camera}/".encode()
        self._sent = b""
        self._answered = b""
        self._request = b""
        self._tries = 0
        self.missing: str | None = None

    def to_camera(self, data: bytes) -> bytes:
        """What to send to the camera when FFmpeg has sent `data`. Raises ValueError for data that is not RTSP."""
        self._sent += data
        out = []
        pieces = list(_pieces(self._sent))
        self._sent = self._sent[sum(map(len, pieces)) :]
        for piece in pieces:
            if piece.startswith(b"$"):
                out.append(piece)
                continue
            begin, line_end, rest = piece.partition(b"\r\n")
            self._request = begin.replace(self._local, self._camera) + line_end + rest
            self._tries = 0
            out.append(self._with_login())
        return b"".join(out)

    def to_ffmpeg(self, data: bytes) -> tuple[bytes, bytes]:
        """(What to send to FFmpeg, what to send back) when the camera has sent `data`. Raises ValueError as above."""
        self._answered += data
        out, back = [], b""
        pieces = list(_pieces(self._answered))
        self._answered = self._answered[sum(map(len, pieces)) :]
        for piece in pieces:
            if piece[:1] != b"$" and piece[:12].endswith(b" 401") and self._accepts(piece):
                back += self._with_login()
            else:
                out.append(piece)
        return b"".join(out), back

    def _accepts(self, answer: bytes) -> bool:
        headers = [each.decode("latin-1") for each in _CHALLENGE.findall(answer)]
        self._tries += 1
        # The first challenge, or one that only says that the nonce was too old.
        if self._tries > 1 and not (self._login.stale(headers) and self._tries < _TRIES):
            return False
        self.missing = self._login.accept(headers)
        return self.missing is None

    def _with_login(self) -> bytes:
        method, target = self._request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[:2]
        answer = self._login.header(method, target)
        request = _AUTHORIZATION.sub(b"", self._request)
        if answer is None:
            return request
        begin, rest = request.split(b"\r\n", 1)
        return begin + b"\r\nAuthorization: " + answer.encode() + b"\r\n" + rest


def _pieces(data: bytes) -> Iterator[bytes]:
    """The whole packets, requests and answers at the beginning of `data`. Raises ValueError for endless text."""
    at, end = 0, len(data)
    while end - at >= 4:
        if data[at] == 0x24:  # `$`, a channel, a length: an RTP or RTCP packet
            size = 4 + int.from_bytes(data[at + 2 : at + 4])
        else:
            head = data.find(b"\r\n\r\n", at)
            if head < 0:
                if end - at > MAX_TEXT_BYTES:
                    raise ValueError("an endless header")
                return
            length = _LENGTH.search(data, at, head)
            size = head + 4 - at + (int(length[1]) if length else 0)
            if size > MAX_TEXT_BYTES:
                raise ValueError("a huge answer")
        if size > end - at:
            return
        yield data[at : at + size]
        at += size
