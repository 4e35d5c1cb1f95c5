"""An RTMP server on loopback that greets each client, and then does what a test wants. Adobe's RTMP 1.0, AMF 0."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import IO

from tests.support.ports import accepted

COMMAND, DATA = 0x14, 0x12
_PIECE = 128


def amf(*values: float | str | dict[str, str] | None) -> bytes:
    """Values of AMF 0, one after another."""
    return b"".join(map(_value, values))


def _value(value: float | str | dict[str, str] | None) -> bytes:
    if value is None:
        return b"\5"
    if isinstance(value, str):
        return b"\2" + _text(value)
    if isinstance(value, dict):
        return b"\3" + b"".join(_text(key) + _value(each) for key, each in value.items()) + b"\0\0\x09"
    return b"\0" + struct.pack(">d", value)


def _text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def message(kind: int, body: bytes, stream: int = 0) -> bytes:
    """A message on channel 3, in pieces of 128 bytes."""
    pieces = [body[at : at + _PIECE] for at in range(0, len(body), _PIECE)]
    head = b"\3" + bytes(3) + len(body).to_bytes(3, "big") + bytes((kind,)) + struct.pack("<I", stream)
    return head + b"\xc3".join(pieces)


class RtmpServer:
    """Each client is greeted, and what it asks is noted; then `answer` has the connection."""

    def __init__(self, answer: Callable[[RtmpServer, socket.socket], None], tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self.asked = b""
        self.clients = self.sent = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RtmpServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)

    @property
    def text(self) -> str:
        """What the client has asked, without what is no text."""
        return self.asked.decode("ascii", "replace")

    def wait_for(self, client: socket.socket, command: str) -> None:
        """Waits until the client has sent a command. Raises OSError if it ends before."""
        while command.encode() not in self.asked:
            data = client.recv(4096)
            if not data:
                raise OSError("the client has ended")
            self.asked += data.replace(b"\xc3", b"")

    def send(self, client: socket.socket, data: bytes) -> None:
        """Sends, and counts it in `sent`."""
        client.sendall(data)
        self.sent += len(data)

    def _serve(self) -> None:
        for client in accepted(self._listener):
            with contextlib.suppress(OSError):
                client.settimeout(20)
                with client if self._tls is None else self._tls.wrap_socket(client, server_side=True) as secured:
                    self._greet(secured)

    def _greet(self, client: socket.socket) -> None:
        self.asked = b""
        with client.makefile("rb", buffering=0) as asked:
            # Version, time, and any bytes; then those of the client.
            hello = _exactly(asked, 1537)
            self.clients += 1
            client.sendall(b"\3" + bytes(1536) + hello[1:])
            _exactly(asked, 1536)
        self._answer(self, client)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = file.read(size - len(data))
        if not piece:
            raise OSError("the client has ended")
        data += piece
    return data


def refuse(code: str, description: str = "") -> Callable[[RtmpServer, socket.socket], None]:
    """An answer that refuses the connection, or what is to be played, with this code."""

    def answer(server: RtmpServer, client: socket.socket) -> None:
        status = {"level": "error", "code": code, "description": description}
        server.wait_for(client, "connect")
        if code.startswith("NetConnection"):
            client.sendall(message(COMMAND, amf("_error", 1.0, None, status)))
            return
        good = {"level": "status", "code": "NetConnection.Connect.Success"}
        client.sendall(message(COMMAND, amf("_result", 1.0, None, good)))
        server.wait_for(client, "createStream")
        client.sendall(message(COMMAND, amf("_result", 2.0, None, 1.0)))
        server.wait_for(client, "play")
        client.sendall(message(COMMAND, amf("onStatus", 0.0, None, status), 1))

    return answer


def ask_for_login(user: str, password: str) -> Callable[[RtmpServer, socket.socket], None]:
    """An answer as Adobe's servers give it: three connections, and then a stream that is not there."""
    salt, challenge, opaque = "c2FsdA==", "Y2hhbGxlbmdl", "b3BhcXVl"

    def digest(*parts: str) -> str:
        return base64.b64encode(hashlib.md5("".join(parts).encode(), usedforsecurity=False).digest()).decode()

    def answer(server: RtmpServer, client: socket.socket) -> None:
        server.wait_for(client, "tcUrl")
        said = re.search(r"\?authmod=adobe&user=(\w+)(?:&challenge=([\w+/=]+)&response=([\w+/=]+))?", server.text)
        reject, start = "NetConnection.Connect.Rejected", "[ AccessManager.Reject ] : [ authmod=adobe ] :"
        if said is None:
            refuse(reject, "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ")(server, client)
        elif said[3] is None:
            question = f"?reason=needauth&user={said[1]}&salt={salt}&challenge={challenge}&opaque={opaque}"
            refuse(reject, f"{start} {question}")(server, client)
        elif (said[1], said[3]) == (user, digest(digest(user, salt, password), opaque, said[2])):
            refuse("NetStream.Play.StreamNotFound")(server, client)
        else:
            refuse(reject, f"{start} ?reason=authfailed&opaque={opaque}")(server, client)

    return answer
