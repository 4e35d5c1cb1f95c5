"""Tornado streams for the clients' connections: each has a place in the connection table, and its writes are watched.

Made by `server` for each accepted connection; `pages` takes over those that become tunnels.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

from tornado.iostream import IOStream, SSLIOStream
from tornado.netutil import ssl_wrap_socket

from elastic_inference.base.connections import Place, WriteWatch, has_closed, reset_at_close

if TYPE_CHECKING:
    _Stream = IOStream
else:
    _Stream = object


class _WatchedStream(_Stream):
    """The part that both kinds of streams share; comes before Tornado's class."""

    # None once another part has to release it.
    place: Place | None = None
    writes: WriteWatch
    # The other end, if the stream is part of a tunnel.
    source: socket.socket | None = None

    def write_to_fd(self, data: memoryview) -> int:
        """Called by Tornado; tells the watch what the kernel did not accept."""
        size = len(data)
        try:
            sent = super().write_to_fd(data)
        except BlockingIOError:
            self.writes.waits(self, moved=False)
            raise
        if sent == size:
            self.writes.ends(self)
        else:
            self.writes.waits(self, moved=sent > 0)
        return sent

    def close_fd(self) -> None:
        """Called by Tornado when the stream closes."""
        self.writes.ends(self)
        super().close_fd()
        if self.place is not None:
            self.place.release()

    def end_stalled(self) -> None:
        """Called by the watch."""
        if self.socket is not None:
            reset_at_close(self.socket)
        self.close()

    def source_closed(self) -> bool:
        """Whether the other end of the tunnel has closed."""
        return self.source is not None and has_closed(self.source)


class ClientStream(_WatchedStream, IOStream):
    """A client's connection."""


class TlsClientStream(_WatchedStream, SSLIOStream):
    """A client's connection with TLS, whose handshake comes with the first read."""


def open_stream(
    connection: socket.socket, tls: ssl.SSLContext | None, place: Place, writes: WriteWatch, **options: Any
) -> ClientStream | TlsClientStream:
    """The stream of an accepted connection. Raises OSError if the client has left already."""
    stream: ClientStream | TlsClientStream
    if tls is None:
        stream = ClientStream(connection, **options)
    else:
        wrapped = ssl_wrap_socket(connection, tls, server_side=True, do_handshake_on_connect=False)
        stream = TlsClientStream(wrapped, **options)
    stream.place, stream.writes = place, writes
    return stream
