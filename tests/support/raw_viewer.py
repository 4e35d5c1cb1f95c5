"""A websocket client on a bare blocking socket: it reads only on request, so it can be slow or silent."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping

CLOSE, PING, PONG = 8, 9, 10


class RawViewer:
    """One open websocket. `read` answers the pings that it meets unless `dumb`."""

    def __init__(
        self,
        port: int,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        receive_buffer_bytes: int | None = None,
        timeout_s: float = 20.0,
        dumb: bool = False,
    ) -> None:
        """Raises AssertionError with the answer's first line if the handshake is refused."""
        self._dumb = dumb
        self._socket = socket.socket()
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.settimeout(timeout_s)
        self._socket.connect(("127.0.0.1", port))
        lines = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Version": "13",
            **(headers or {}),
        }
        request = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._socket.sendall(f"GET {target} HTTP/1.1\r\n{request}\r\n".encode())
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ", 2)[1])
        if self.status != 101:
            self._socket.close()
            raise AssertionError(f"refused: {head.splitlines()[0].decode()} {self._buffer.decode(errors='replace')}")

    def read(self) -> tuple[int, bytes]:
        """The next message (opcode 1 or 2, payload) or close frame (8, code and reason). Blocks."""
        while True:
            first, second = self._take(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self._take(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._take(8))
            payload = self._take(length)
            opcode = first & 0x0F
            if opcode == PING:
                if not self._dumb:
                    self.send(PONG, payload)
                continue
            if opcode != PONG:
                return opcode, payload

    def read_close_code(self) -> int:
        """Reads up to the close frame and returns its code."""
        while True:
            opcode, payload = self.read()
            if opcode == CLOSE:
                return int(struct.unpack(">H", payload[:2])[0])

    def send(self, opcode: int, payload: bytes) -> None:
        """Sends one masked frame with a payload of at most 65535 bytes."""
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        size = struct.pack(">B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack(">BH", 0xFE, len(payload))
        self._socket.sendall(bytes([0x80 | opcode]) + size + mask + masked)

    def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self._socket.sendall(data)

    def is_cut_off(self) -> bool:
        """Reads to the end; True if the connection ended without a close frame."""
        try:
            return self.read()[0] != CLOSE and self.is_cut_off()
        except (ConnectionError, EOFError):
            return True

    def close(self) -> None:
        """Closes the connection without a close frame."""
        self._socket.close()

    def __enter__(self) -> RawViewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._buffer += self._receive()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _receive(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        return data
