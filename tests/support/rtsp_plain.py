"""A small RTSP camera on loopback: H.264 over the RTSP connection, joined in mid-stream as real cameras are.

Every client joins where the camera is at that moment, so a key frame may be many seconds away. With a TLS context it
serves rtsps.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

PACKET_BYTES = 1400


def encode(seconds: int, fps: int, gop: int, size: str = "320x240") -> bytes:
    """A moving test image as raw H.264 without B frames, with a key frame every `gop` frames."""
    command = (
        f"ffmpeg -v error -f lavfi -i testsrc2=size={size}:rate={fps} -t {seconds} -c:v libx264 -preset ultrafast"
        f" -threads 1 -bf 0 -g {gop} -keyint_min {gop} -sc_threshold 0 -x264-params slices=1:repeat-headers=1"
        " -pix_fmt yuv420p -f h264 -"
    )
    return subprocess.run(command.split(), capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout


def access_units(annex_b: bytes) -> list[list[bytes]]:
    """NAL units by frame, for one slice a frame."""
    units: list[list[bytes]] = []
    pending: list[bytes] = []
    for nal in (part.rstrip(b"\0") for part in re.split(rb"\x00\x00\x00?\x01", annex_b)):
        if not nal or nal[0] & 31 == 9:
            continue
        pending.append(nal)
        if nal[0] & 31 in (1, 5):
            units.append(pending)
            pending = []
    return units


def rtp_packets(unit: list[bytes], stamp: int, sequence: int) -> tuple[list[bytes], int]:
    """RTP packets of one frame (RFC 6184: single units and FU-A), and the next sequence number."""
    found = []
    for at, nal in enumerate(unit):
        pieces = [nal] if len(nal) <= PACKET_BYTES else []
        if not pieces:
            body, size = nal[1:], PACKET_BYTES - 2
            for start in range(0, len(body), size):
                flags = (0x80 if start == 0 else 0) | (0x40 if start + size >= len(body) else 0)
                pieces.append(bytes([nal[0] & 0xE0 | 28, flags | nal[0] & 31]) + body[start : start + size])
        for index, piece in enumerate(pieces):
            last = at == len(unit) - 1 and index == len(pieces) - 1
            head = struct.pack(">BBHII", 0x80, 96 | (0x80 if last else 0), sequence & 0xFFFF, stamp & 0xFFFFFFFF, 7)
            found.append(head + piece)
            sequence += 1
    return found, sequence


@dataclass(frozen=True)
class Access:
    """What a camera asks for: `offers` are algorithms of Digest, or `Basic`, in the order of its challenges.

    `one_header` holds all of them; with `stale` the second request needs another nonce.
    """

    user: str
    password: str
    offers: tuple[str, ...] = ("MD5",)
    quality: str = "auth"
    one_header: bool = False
    stale: bool = False
    seen: list[str] = field(default_factory=list)  # the schemes of the logins that came

    @property
    def _is_stale(self) -> bool:
        return self.stale and len(self.seen) > 1

    def challenges(self) -> list[str]:
        """The headers of a 401."""
        nonce = "new" if self._is_stale else "old"
        stale = ", stale=true" if self._is_stale else ""
        each = [
            'Basic realm="r"'
            if offer == "Basic"
            else f'Digest realm="r", nonce="{nonce}", qop="{self.quality}", algorithm={offer}{stale}'
            for offer in self.offers
        ]
        return [f"WWW-Authenticate: {text}" for text in ([", ".join(each)] if self.one_header else each)]

    def allows(self, request: str) -> bool:
        """Whether the request's answer to one of the challenges is right."""
        header = re.search(r"(?im)^authorization: *(\w+) (.*?)\r?$", request)
        if header is None:
            return False
        self.seen.append(header[1])
        if header[1] == "Basic":
            expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            return "Basic" in self.offers and header[2] == expected
        given = {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header[2])}
        algorithm = given.get("algorithm", "MD5")
        if algorithm not in self.offers or (self._is_stale and given["nonce"] == "old"):
            return False

        def digest(text: str) -> str:
            return hashlib.new(algorithm.removesuffix("-sess").replace("-", ""), text.encode()).hexdigest()

        secret, what = digest(f"{self.user}:r:{self.password}"), f"{request.split(maxsplit=1)[0]}:{given['uri']}"
        if algorithm.endswith("-sess"):
            secret = digest(f"{secret}:{given['nonce']}:{given['cnonce']}")
        if given["qop"] == "auth-int":
            what += f":{digest('')}"
        rest = f"{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{digest(what)}"
        return given["response"] == digest(f"{secret}:{rest}")


class _Camera:
    def __init__(
        self,
        stream: bytes,
        fps: float,
        tls: ssl.SSLContext | None,
        join_at: int | None,
        *,
        access: Access | None,
        encoding: str,
        on_play: Callable[[str], None] = lambda url: None,
        second: str = "",
        sound: str = "",
        clock: float = 90000,
    ) -> None:
        self._clock = clock
        self._access = access
        self._sound = sound
        self._second = second
        self._playing: list[socket.socket] = []
        self._lock = threading.Lock()
        self._on_play = on_play
        self._encoding = encoding
        self._units = access_units(stream)
        self._fps = fps
        self._tls = tls
        self._join_at = join_at
        self._began = time.monotonic()
        self.going = threading.Event()
        self.going.set()

    def serve(self, connection: socket.socket) -> None:
        """One client. In one thread, since a TLS connection is not made for two."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            stack.enter_context(connection)
            stack.callback(self._forget, connection)
            rest, frames, due = b"", None, time.monotonic() + 60
            while self.going.is_set():
                connection.settimeout(max(0.001, due - time.monotonic()))
                try:
                    data = connection.recv(4096)
                except TimeoutError:
                    if frames is None:
                        return
                    due, packets = next(frames)
                    connection.settimeout(60)
                    connection.sendall(packets)
                    continue
                if not data:
                    return
                rest = self._skip_interleaved(rest + data)
                while b"\r\n\r\n" in rest and rest[:1] != b"$":
                    head, rest = rest.split(b"\r\n\r\n", 1)
                    connection.settimeout(60)
                    method = self._answer(connection, head.decode("latin-1"))
                    if method == "TEARDOWN":
                        return
                    if method == "PLAY":
                        frames = self._frames()
                        due = time.monotonic()

    @staticmethod
    def _skip_interleaved(data: bytes) -> bytes:
        while data[:1] == b"$" and len(data) >= 4 and len(data) >= 4 + struct.unpack(">H", data[2:4])[0]:
            data = data[4 + struct.unpack(">H", data[2:4])[0] :]
        return data

    def _answer(self, connection: socket.socket, request: str) -> str:
        method, url = request.split()[:2]
        lines = ["CSeq: " + re.findall(r"(?i)cseq: *(\d+)", request)[0]]
        body = ""
        if self._access is not None and method != "OPTIONS" and not self._access.allows(request):
            lines += self._access.challenges()
            connection.sendall(("RTSP/1.0 401 Unauthorized\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
            return method
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE":
            sets = [nal for nal in self._units[0] if nal[0] & 31 in (7, 8)]
            sprop = ",".join(base64.b64encode(one).decode() for one in sets)
            body = (
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\n"
                f"a=rtpmap:96 {self._encoding}/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets={sprop}\r\n"
                "a=control:track0\r\n"
            )
            if self._sound == "alone":
                body = body[: body.index("m=")]
            if self._sound:
                body += "m=audio 0 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\na=control:track1\r\n"
            lines += [f"Content-Base: {url}/", "Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP" and self._sound == "refused" and url.endswith("track1"):
            connection.sendall(f"RTSP/1.0 404 Not Found\r\n{lines[0]}\r\n\r\n".encode())
            return method
        elif method == "SETUP":
            lines += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 12345678;timeout=60"]
        else:
            lines.append("Session: 12345678")
            if method == "PLAY":
                if self._second == "none":
                    return "TEARDOWN"
                if self._second == "silence":
                    return ""
                if not self._admit(connection):
                    connection.sendall(f"RTSP/1.0 453 Not Enough Bandwidth\r\n{lines[0]}\r\n\r\n".encode())
                    return "TEARDOWN"
                self._on_play(url)
        connection.sendall(("RTSP/1.0 200 OK\r\n" + "\r\n".join(lines) + "\r\n\r\n" + body).encode())
        return method

    def _admit(self, connection: socket.socket) -> bool:
        """Whether this client may watch, if the camera allows one session only."""
        with self._lock:
            if self._playing and self._second == "refuse":
                return False
            if self._second == "replace":
                for other in self._playing:
                    with contextlib.suppress(OSError):
                        other.shutdown(socket.SHUT_RDWR)
                self._playing.clear()
            self._playing.append(connection)
        return True

    def _forget(self, connection: socket.socket) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._playing.remove(connection)

    def _frames(self) -> Iterator[tuple[float, bytes]]:
        """The packets of each frame, and when the next one is due."""
        began = self._began
        if self._join_at is not None:
            began = time.monotonic() - self._join_at / self._fps
        sequence = 0
        for number in itertools.count(int((time.monotonic() - began) * self._fps)):
            unit = self._units[number % len(self._units)]
            made, sequence = rtp_packets(unit, round(number * self._clock / self._fps), sequence)
            packets = b"".join(b"$\0" + struct.pack(">H", len(one)) + one for one in made)
            yield began + (number + 1) / self._fps, packets


@contextlib.contextmanager
def rtsp_camera(
    stream: bytes,
    fps: float,
    tls: ssl.SSLContext | None = None,
    join_at: int | None = None,
    *,
    access: Access | None = None,
    encoding: str = "H264",
    on_play: Callable[[str], None] = lambda url: None,
    second: str = "",
    sound: str = "",
    clock: float = 90000,
    host: str = "127.0.0.1",
) -> Iterator[int]:
    """Serves `stream` (raw H.264, one slice a frame) at `fps`, over and over. Yields the port.

    Clients join where the camera is at that moment, or at frame `join_at`. `encoding` is what the description calls
    the codec. `on_play` gets the URL of each client that begins to watch, in any thread. A camera that allows one
    session only may `refuse` a second client, or `replace` the first by it. One that lets `none` watch hangs up, or
    answers each with `silence`. Its description names `sound` too if it is
    `alone` (without video) or `refused` (to each client that asks for it). `clock` is how many ticks its time stamps
    advance in a second.
    """
    camera = _Camera(
        *(stream, fps, tls, join_at),
        access=access,
        encoding=encoding,
        on_play=on_play,
        second=second,
        sound=sound,
        clock=clock,
    )
    listener = socket.create_server((host, 0))
    listener.settimeout(0.2)

    def accept() -> None:
        while camera.going.is_set():
            with contextlib.suppress(TimeoutError):
                threading.Thread(target=camera.serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        camera.going.clear()
        thread.join()
        listener.close()
