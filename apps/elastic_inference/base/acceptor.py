"""Accepts the connections of a server, as many as its `ConnectionTable` has places for.

Used by the gateway and the websocket server instead of what their libraries do: those accept without a limit, and use
up a core when the process has no descriptor left. Here a client that finds no place waits in the kernel's queue.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from elastic_inference.base.connections import ConnectionTable, Place, bound_kernel_queue
from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)

# Connections accepted before others get their turn on the event loop.
_AT_ONCE = 64
# The pause after an error such as EMFILE. The kernel would report the waiting client again at once.
PAUSE_S = 0.5
# The client left before it was accepted, or the network broke: the next one may be fine.
_OF_ONE_CLIENT = frozenset((errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EHOSTUNREACH, errno.ENETUNREACH))
Take = Callable[[socket.socket, Any, Place], None]


class Acceptor:
    """Accepts from listening sockets. One event loop."""

    def __init__(self, listeners: Sequence[socket.socket], table: ConnectionTable, take: Take) -> None:
        """`take` gets each connection (not blocking), its peer's address and its place, and releases the place."""
        self._listeners = tuple(listeners)
        self._table = table
        self._take = take
        self._throttle = Throttle()
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        self._closed = False
        self._pause: asyncio.TimerHandle | None = None
        table.on_room = self._resume

    def start(self) -> None:
        """Starts accepting."""
        self._resume()

    def close(self) -> None:
        """Stops accepting and closes the listening sockets. Calling it again does nothing."""
        if self._closed:
            return
        self._stop()
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        for each in self._listeners:
            each.close()

    def _resume(self) -> None:
        if not self._closed and not self._accepting and self._pause is None:
            self._accepting = True
            for each in self._listeners:
                self._loop.add_reader(each, self._accept, each)

    def _stop(self) -> None:
        if self._accepting:
            self._accepting = False
            for each in self._listeners:
                self._loop.remove_reader(each)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if self._table.full:
                self._stop()
                return
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OF_ONE_CLIENT:
                    continue
                self._rest(error)
                return
            self._serve(connection, address)

    def _serve(self, connection: socket.socket, address: Any) -> None:
        place = self._table.enter(str(address[0]) if isinstance(address, tuple) else "")
        if place is None:
            connection.close()
            return
        try:
            connection.setblocking(False)
            bound_kernel_queue(connection)
            self._take(connection, address, place)
        except OSError:  # the client has left
            connection.close()
            place.release()
        except Exception:
            if self._throttle.allow("bug"):
                log.exception("accepting a connection failed (logged once a minute)")
            connection.close()
            place.release()

    def _rest(self, error: OSError) -> None:
        if self._throttle.allow(error.errno):
            log.warning(
                "no connection can be accepted for now: %s; clients wait (logged once a minute)",
                error.strerror or error,
            )
        self._stop()
        self._pause = self._loop.call_later(PAUSE_S, self._after_rest)

    def _after_rest(self) -> None:
        self._pause = None
        self._resume()


def listen(host: str, port: int, backlog: int = 1024) -> list[socket.socket]:
    """Listening sockets at every address of `host` (empty: all) with one port; 0 takes a free one. Raises OSError."""
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            each = socket.socket(family, kind, protocol)
        except OSError as error:  # the kernel has no IPv6
            failure = error
            continue
        try:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.setblocking(False)
            each.bind((address[0], sockets[0].getsockname()[1], *address[2:]) if sockets else address)
            each.listen(backlog)
        except OSError as error:
            each.close()
            failure = error
            if error.errno != errno.EADDRNOTAVAIL:  # a name may have an address that this machine lacks
                break
        else:
            sockets.append(each)
    if sockets and (failure is None or failure.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
        return sockets
    for each in sockets:
        each.close()
    raise failure or OSError(errno.EADDRNOTAVAIL, "the host has no address")
