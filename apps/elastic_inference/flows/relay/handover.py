"""Hands the connections that an `Acceptor` has accepted to the `websockets` library.

The library makes asyncio accept from a listening socket. It gets this stand-in, whose `accept` returns what was
offered.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from elastic_inference.base.connections import Place


def _nothing() -> None:
    """Does nothing: no acceptor is connected yet."""


class Handover(socket.socket):
    """Stands in for a listening socket; readable while connections wait to be taken. For one event loop."""

    def __init__(self) -> None:
        near, self._far = socket.socketpair()
        super().__init__(near.family, near.type, near.proto, near.detach())
        self.setblocking(False)
        self._far.setblocking(False)
        # Called when the library closes its listening socket.
        self.on_close: Callable[[], None] = _nothing
        # The places of the open connections, by their peers' addresses.
        self.places: dict[Any, Place] = {}
        self._offered: deque[tuple[_OfferedConnection, Any]] = deque()

    def offer(self, connection: socket.socket, address: Any, place: Place) -> None:
        """Passes a connection on."""

        def closed() -> None:
            place.release()
            if self.places.get(address) is place:
                del self.places[address]

        self.places[address] = place
        self._offered.append((_OfferedConnection(connection, closed), address))
        with contextlib.suppress(BlockingIOError):  # readable already
            self._far.send(b"\0")

    def listen(self, backlog: int = 0, /) -> None:
        """Called by asyncio; the real listening sockets are the acceptor's."""

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection and its peer's address. Raises BlockingIOError when there is none."""
        if not self._offered:
            while self.recv(4096):
                pass  # ends with a BlockingIOError
            raise BlockingIOError
        return self._offered.popleft()

    def close(self) -> None:
        """Called by asyncio at the end; closes what nobody has taken."""
        self.on_close()
        while self._offered:
            self._offered.popleft()[0].close()
        self._far.close()
        super().close()


class _OfferedConnection(socket.socket):
    """An accepted connection that says when it is closed, whoever closes it."""

    def __init__(self, accepted: socket.socket, on_close: Callable[[], None]) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self.setblocking(False)
        self._on_close = on_close

    def close(self) -> None:
        """Closes the connection and releases its place."""
        super().close()
        self._on_close()
