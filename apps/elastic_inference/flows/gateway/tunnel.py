"""The tunnel: passes an upgraded connection to the websocket server and back, byte for byte.

Called by the tunnel handler. Parses nothing. All buffers on the way are small, the kernel's included: the
websocket server must notice a slow viewer, in order to skip frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Awaitable
from typing import Protocol

from elastic_inference.base.connections import LINGER_S, WriteWatch, has_closed, reset_at_close
from elastic_inference.domain.errors import ElasticInferenceError

log = logging.getLogger(__name__)

# The kernel doubles this value. With 128 kB, a viewer that read 10 of 30 frames per second (50 kB each) saw them 1.6 s
# old instead of 1.1 s, at the same throughput.
UPSTREAM_RECEIVE_BYTES = 64 * 1024
CHUNK_BYTES = 128 * 1024
CONNECT_LIMIT_S = 5.0
ANSWER_LIMIT_S = 10.0


class UpstreamError(ElasticInferenceError):
    """The websocket server is unreachable or does not answer.

    `closed` if it accepted the connection and closed it, `own` if this process has no file descriptor left.
    """

    def __init__(self, message: str, *, closed: bool = False, own: bool = False) -> None:
        super().__init__(message)
        self.closed = closed
        self.own = own


class ByteStream(Protocol):
    """The part of Tornado's IOStream that the tunnel needs for a TLS connection."""

    def read_bytes(self, num_bytes: int, partial: bool = False) -> Awaitable[bytes]:
        """At most `num_bytes`, as soon as any have arrived."""

    def write(self, data: bytes | memoryview) -> Awaitable[None]:
        """Completes when the kernel has accepted `data`."""

    def close(self) -> None:
        """Closes the connection."""


async def open_upstream(host: str, port: int, head: bytes) -> tuple[socket.socket, bytes]:
    """Connects to the websocket server and sends it the request `head`; returns the connection and its first answer.

    Raises UpstreamError if the server is unreachable, refuses or does not answer.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            upstream = await _connect(loop, host, port)
    except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: not a valid host name
        own = getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE)
        raise UpstreamError(
            f"the websocket server at {host}:{port} is unreachable: {_reason(error)}", own=own
        ) from None
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await loop.sock_sendall(upstream, head)
            answer = await loop.sock_recv(upstream, CHUNK_BYTES)
    except (OSError, TimeoutError) as error:
        upstream.close()
        raise UpstreamError(f"the websocket server at {host}:{port} does not answer: {_reason(error)}") from None
    except BaseException:
        upstream.close()
        raise
    if not answer:
        upstream.close()
        raise UpstreamError(f"the websocket server at {host}:{port} closed the connection", closed=True)
    return upstream, answer


async def _connect(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("no address")
    for family, kind, protocol, _name, address in addresses:
        upstream = socket.socket(family, kind, protocol)
        try:
            upstream.setblocking(False)
            # Before connect, since it decides the TCP window.
            upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UPSTREAM_RECEIVE_BYTES)
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(upstream, address)
        except OSError as error:
            upstream.close()
            failure = error
        except BaseException:
            upstream.close()
            raise
        else:
            return upstream
    raise failure


class SocketTunnel:
    """Joins two sockets by callbacks of the event loop: no task and no future per message.

    Owns both sockets. `done` is set when both are closed. Reports to `writes` which of them accepts no data.
    """

    def __init__(self, client: socket.socket, upstream: socket.socket, writes: WriteWatch) -> None:
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sockets = (client, upstream)
        self._down = _Pump(self, upstream, client, writes)
        self._up = _Pump(self, client, upstream, writes)
        self._linger: asyncio.TimerHandle | None = None

    def start(self, to_client: bytes, to_upstream: bytes) -> None:
        """Starts with the bytes that were already read from either side."""
        self._down.start(to_client)
        if not self.done.is_set():
            self._up.start(to_upstream)

    def close(self) -> None:
        """Closes both connections at once. Calling it again does nothing."""
        if self.done.is_set():
            return
        self.done.set()
        if self._linger:
            self._linger.cancel()
        self._down.forget()
        self._up.forget()
        for end in self._sockets:
            self._loop.remove_reader(end)
            self._loop.remove_writer(end)
            end.close()

    def end(self) -> None:
        """Called when one direction has ended: closes both connections once the other one has, or soon."""
        if self._down.ended and self._up.ended:
            self.close()
        elif self._linger is None:
            self._linger = self._loop.call_later(LINGER_S, self.close)


class _Pump:
    """One direction: reads what has arrived, and reads again once that is written."""

    def __init__(self, tunnel: SocketTunnel, source: socket.socket, sink: socket.socket, writes: WriteWatch) -> None:
        self.ended = False
        self._loop = asyncio.get_running_loop()
        self._tunnel = tunnel
        self._source, self._sink = source, sink
        self._writes = writes
        self._buffer = bytearray(CHUNK_BYTES)
        self._pending = memoryview(b"")

    def start(self, first: bytes) -> None:
        self._pending = memoryview(first)
        if not first or self._write():
            self._loop.add_reader(self._source, self._read)
        elif self._pending:
            self._loop.add_writer(self._sink, self._continue)

    def forget(self) -> None:
        """Ends the watch over a pending write."""
        self._writes.ends(self)

    def end_stalled(self) -> None:
        """Called by the watch."""
        reset_at_close(self._sink)
        self._tunnel.close()

    def source_closed(self) -> bool:
        """Called by the watch: while a write is pending nothing is read, which would hide the end of the source."""
        return has_closed(self._source)

    def _read(self) -> None:
        try:
            count = self._source.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._tunnel.close()
            return
        if not count:
            self._loop.remove_reader(self._source)
            self.ended = True
            with contextlib.suppress(OSError):  # the other side may have closed already
                self._sink.shutdown(socket.SHUT_WR)
            self._tunnel.end()
            return
        self._pending = memoryview(self._buffer)[:count]
        if not self._write() and self._pending:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._continue)

    def _continue(self) -> None:
        if self._write():
            self._writes.ends(self)
            self._loop.remove_writer(self._sink)
            self._loop.add_reader(self._source, self._read)

    def _write(self) -> bool:
        """Writes as much as the sink accepts; True when nothing is left. After a failure nothing is pending."""
        try:
            sent = self._sink.send(self._pending)
        except (BlockingIOError, InterruptedError):
            self._writes.waits(self, moved=False)
            return False
        except OSError:
            self._pending = memoryview(b"")
            self._tunnel.close()
            return False
        self._pending = self._pending[sent:]
        if self._pending:
            self._writes.waits(self, moved=True)
            return False
        return True


async def tunnel_streams(
    client: ByteStream, upstream: socket.socket, to_client: bytes, closed: type[Exception], stall_s: float
) -> None:
    """Like `SocketTunnel`, for a TLS connection, whose bare socket cannot be used. It raises `closed` at its end.

    Returns when either side has closed; then both are closed. The client's stream watches its own writes. The
    websocket server has `stall_s` to accept what the client sends.
    """
    loop = asyncio.get_running_loop()

    async def down() -> None:
        await client.write(to_client)
        buffer = bytearray(CHUNK_BYTES)
        while count := await loop.sock_recv_into(upstream, buffer):
            await client.write(bytes(memoryview(buffer)[:count]))

    async def up() -> None:
        while True:
            data = await client.read_bytes(CHUNK_BYTES, partial=True)
            async with asyncio.timeout(stall_s):
                await loop.sock_sendall(upstream, data)

    tasks = [asyncio.create_task(down()), asyncio.create_task(up())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, (OSError, closed)):
                log.warning("tunnel: %r", outcome)
        upstream.close()
        client.close()


def _reason(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else (getattr(error, "strerror", None) or str(error))
