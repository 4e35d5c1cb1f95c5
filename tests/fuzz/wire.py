"""Answers a client's connections with given bytes, through a pair of sockets: no port, no thread, no waiting."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock


@contextmanager
def answering(answers: Sequence[bytes]) -> Iterator[None]:
    """Each connection that this process opens gets the next of `answers`, or the last one again, and is then closed."""
    ends: list[socket.socket] = []
    made = 0

    def connect(*_: Any, **__: Any) -> socket.socket:
        nonlocal made
        near, far = socket.socketpair()
        near.settimeout(5)
        ends.extend((near, far))
        far.sendall(answers[min(made, len(answers) - 1)])
        far.shutdown(socket.SHUT_WR)
        made += 1
        return near

    try:
        with mock.patch("socket.create_connection", connect):
            yield
    finally:
        for end in ends:
            end.close()
