"""JSON lines over a socket between the source worker and its child processes.

Called by `child` and `child_process`. It carries logins, so that these do not appear in arguments or environment
variables.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from typing import Any

_READ_BYTES = 256 * 1024
_WRITE_BYTES = 64 * 1024
# The maximum of one message, such as the metrics of thousands of cameras.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
Message = dict[str, Any]


class Channel:
    """One end. `receive` is for one thread, the others for any.

    Sending never blocks: a process that has just started, or is on a busy machine, may read seconds later.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lock = threading.Lock()
        self._late = bytearray()
        self._rest = bytearray()

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Sends one message; `flush` sends what does not fit now. False if the other end has closed, or more than one
        maximum message is unsent."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._late += data
            return self._flush()

    @property
    def behind(self) -> bool:
        """Whether `flush` has something to send."""
        return bool(self._late)

    def flush(self) -> bool:
        """Sends more of the unsent data; False as from `send`."""
        with self._lock:
            return self._flush()

    def _flush(self) -> bool:
        while self._late:
            try:
                sent = self._socket.send(self._late[:_WRITE_BYTES], socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                return False
            del self._late[:sent]
        return len(self._late) <= MAX_MESSAGE_BYTES

    def receive(self) -> list[Message] | None:
        """Waits for data and returns the complete messages; None when the other end has closed."""
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
        with self._lock:
            self._late.clear()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()
