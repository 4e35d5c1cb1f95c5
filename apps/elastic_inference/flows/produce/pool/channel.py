"""JSON lines over a socket between the source worker and its child processes.

Called by `child` and `child_process`. It carries logins, which therefore need no argument and no environment variable.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Mapping
from typing import Any

# A child whose buffer stays full for this long hangs.
SEND_LIMIT_S = 2.0
_READ_BYTES = 256 * 1024
# The maximum of one message, such as the metrics of thousands of cameras.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
Message = dict[str, Any]


class Channel:
    """One end. `send` is for any thread, `receive` for one."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(SEND_LIMIT_S), 0))
        self._socket = sock
        self._lock = threading.Lock()
        self._rest = bytearray()

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Sends one message; False if the other end has closed or hangs."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._socket.sendall(data)
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Waits for data and returns the messages that are complete; None when the other end has closed."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError:
            return None
        self._rest += data
        if not data or len(self._rest) > MAX_MESSAGE_BYTES:
            return None
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        return [json.loads(line) for line in lines]

    def shut(self) -> None:
        """Tells the other end that nothing will follow; it then closes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()
