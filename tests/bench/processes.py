"""Processes that a benchmark starts beside its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

STARTS_WITHIN_S = 30.0
ENDS_WITHIN_S = 15.0


@contextmanager
def listening(children: Sequence[subprocess.Popen[bytes]], ports: Sequence[int]) -> Iterator[None]:
    """Waits until something listens at each of the ports; stops the processes at the end."""
    try:
        for port in ports:
            _wait(port)
        yield
    finally:
        for child in children:
            child.send_signal(signal.SIGTERM)
        for child in children:
            child.wait(ENDS_WITHIN_S)


def _wait(port: int) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing listens on port {port}")
        time.sleep(0.05)
