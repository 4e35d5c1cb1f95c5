"""The open connections of a server: limits in total and per address, and the end of those that a client blocks.

Gateway and websocket server keep one `ConnectionTable`; `base.acceptor` fills it. Knows neither HTTP nor websockets.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import resource
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from elastic_inference.base.forwarded import Network, is_trusted, read_address
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ConnectionMetrics

log = logging.getLogger(__name__)

# A write that does not progress for this long ends its connection.
WRITE_STALL_S = 30.0
# The same when the other end of a tunnel has closed already: nothing new will come.
LINGER_S = 5.0
# How many unsent bytes the kernel keeps for a connection: about one frame. Measured: a viewer that reads 10 of 30
# frames per second is 0.3 s behind with it and 7 s without.
UNSENT_BYTES = 64 * 1024
# The option's number on Linux, for a Python that was built without its name.
_TCP_NOTSENT_LOWAT: int = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
# Files that are open beside the connections: Redis, snapshots, the health port, libraries.
SPARE_FILES = 256
_MIN_CONNECTIONS = 16
# A browser opens up to six connections for files, requests and events, and a further one for each tile: here two.
ONE_DASHBOARD = 8


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """At most `total` open connections, and `per_address` of one client."""

    total: int
    per_address: int


class Place:
    """One open connection in the table. `release` when it is closed."""

    __slots__ = ("_address", "_proxied", "_released", "_table")

    def __init__(self, table: ConnectionTable, address: str | None) -> None:
        """`address` is None behind a trusted proxy, until a request says who the client is."""
        self._table = table
        self._address = address
        self._proxied = address is None
        self._released = False

    def count_for(self, client: str | None) -> bool:
        """Counts a proxy's connection for the client of its present request; None between requests.

        False if this client has all the connections that it may have. Other connections count for their peer.
        """
        if not self._proxied or self._released:
            return True
        address = None if client is None else self._table.group(client)
        if address == self._address:
            return True
        self._table.uncount(self._address)
        self._address = None
        if not self._table.count(address):
            return False
        self._address = address
        return True

    def release(self) -> None:
        """Gives the place back. Calling it again does nothing."""
        if not self._released:
            self._released = True
            self._table.leave(self._address)


class ConnectionTable:
    """Counts open connections, in total and by address. One event loop."""

    def __init__(
        self,
        limits: ConnectionLimits,
        trusted_proxies: Sequence[Network] = (),
        metrics: ConnectionMetrics | None = None,
    ) -> None:
        self.limits = limits
        # Called when a place becomes free.
        self.on_room: Callable[[], None] = lambda: None
        self._trusted_proxies = tuple(trusted_proxies)
        self._metrics = metrics
        self._open = 0
        self._by_address: Counter[str] = Counter()
        self._throttle = Throttle()
        if metrics is not None:
            metrics.limit.set(limits.total)

    def __len__(self) -> int:
        return self._open

    @property
    def full(self) -> bool:
        """Whether further connections have to wait; says so in the log, once a minute."""
        if self._open < self.limits.total:
            return False
        if self._throttle.allow("full"):
            address, count = max(self._by_address.items(), key=lambda item: item[1], default=("-", 0))
            log.warning(
                "all %d connections are in use (MAX_CONNECTIONS), %d of them by %s: further clients wait "
                "(logged once a minute)",
                *(self.limits.total, count, address),
            )
        return True

    def enter(self, peer: str) -> Place | None:
        """A place for a connection from `peer`; None if this address has all that it may have."""
        address = self.group(peer)
        if not self.count(address):
            return None
        self._open += 1
        self._show()
        return Place(self, address)

    def leave(self, address: str | None) -> None:
        """Called by a place that is released."""
        self._open -= 1
        self.uncount(address)
        self._show()
        self.on_room()

    def group(self, address: str) -> str | None:
        """What counts as one client: an IPv4 address, or an IPv6 network of 64 bits. None for a trusted proxy."""
        found = read_address(address)
        if found is None:
            return address
        if is_trusted(found, self._trusted_proxies):
            return None
        if isinstance(found, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((found, 64), strict=False))
        return str(found)

    def count(self, address: str | None) -> bool:
        """Counts one more connection for an address; False if that would be too many."""
        if address is None:
            return True
        if self._by_address[address] >= self.limits.per_address:
            if self._metrics is not None:
                self._metrics.refused.inc()
            if self._throttle.allow("address"):
                log.warning(
                    "%s has all %d connections that one address may have (MAX_CONNECTIONS_PER_ADDRESS): further ones "
                    "are refused (logged once a minute)",
                    *(address, self.limits.per_address),
                )
            return False
        self._by_address[address] += 1
        return True

    def uncount(self, address: str | None) -> None:
        """Counts one less."""
        if address is None:
            return
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def _show(self) -> None:
        if self._metrics is not None:
            self._metrics.open.set(self._open)


class Writer(Protocol):
    """A connection, or one direction of a tunnel, that writes to a client."""

    def end_stalled(self) -> None:
        """Ends the connection."""

    def source_closed(self) -> bool:
        """Whether the other end, from which the written data come, has closed."""


class WriteWatch:
    """Ends connections whose client accepts nothing. Writers report only writes that have to wait."""

    def __init__(self, limit_s: float = WRITE_STALL_S, linger_s: float = LINGER_S) -> None:
        self.limit_s = limit_s
        self._linger_s = linger_s
        self._since: dict[Writer, float] = {}
        self._throttle = Throttle()

    def __len__(self) -> int:
        return len(self._since)

    def waits(self, writer: Writer, *, moved: bool) -> None:
        """Records that a write is incomplete; `moved` says that a part of it was accepted just now."""
        if moved or writer not in self._since:
            self._since[writer] = time.monotonic()

    def ends(self, writer: Writer) -> None:
        """Records that the write is complete, or the connection closed."""
        self._since.pop(writer, None)

    def sweep(self) -> None:
        """Ends what has waited for too long. Call it several times within the limit."""
        now = time.monotonic()
        for writer, since in list(self._since.items()):
            waited_s = now - since
            if waited_s > self.limit_s or (waited_s > self._linger_s and writer.source_closed()):
                self._since.pop(writer, None)
                if self._throttle.allow("stalled"):
                    log.info("ended a connection whose client read nothing for %.0f s (logged once a minute)", waited_s)
                writer.end_stalled()


def has_closed(connection: socket.socket) -> bool:
    """Whether the peer has closed the connection, even if what it sent before is still unread."""
    poll = select.poll()
    try:
        poll.register(connection, getattr(select, "POLLRDHUP", 0))
    except (ValueError, OSError):  # closed on our side
        return True
    return bool(poll.poll(0))


def reset_at_close(connection: socket.socket) -> None:
    """Lets a close discard what is unsent, so that the peer notices it even if it reads nothing.

    Otherwise the end waits in the kernel behind data that nobody reads, and a tunnel in between does not notice it.
    """
    with contextlib.suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def bound_kernel_queue(connection: socket.socket) -> None:
    """Limits how much the kernel keeps unsent, whatever the size of its send buffer."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    # Each option only helps, so errors are ignored: some kernels do not know it, or the client has left.
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES),
    ):
        with contextlib.suppress(OSError):
            connection.setsockopt(level, option, value)


def fit_connections(total: int, per_address: int | None, tunnels: int = 0) -> ConnectionLimits:
    """The limits that the process' open files allow; raises the limit of files as far as the system lets it.

    `tunnels` connections need a second file. `per_address` is half of all if it is None.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = total + min(total, tunnels) + SPARE_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        room = max(0, allowed - SPARE_FILES)
        fitting = max(_MIN_CONNECTIONS, room - tunnels if room >= 2 * tunnels else room // 2)
        log.warning(
            "MAX_CONNECTIONS=%d needs %d open files, and the limit is %d: at most %d connections are accepted; raise "
            "the limit (ulimit -n)",
            *(total, wanted, allowed, fitting),
        )
        total = fitting
    if per_address is not None and per_address < ONE_DASHBOARD:
        log.warning(
            "MAX_CONNECTIONS_PER_ADDRESS=%d is too low for one dashboard, whose page or tiles may stay empty: "
            "set at least %d, and one more for each further tile",
            *(per_address, ONE_DASHBOARD),
        )
    return ConnectionLimits(total, total // 2 if per_address is None else per_address)
