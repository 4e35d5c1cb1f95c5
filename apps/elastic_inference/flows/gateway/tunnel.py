"""The tunnel: an upgraded connection passed to the websocket server and back, byte for byte.

Called by the tunnel handler. Parses nothing and keeps little: a viewer that reads slowly must be felt by the
websocket server, which then skips frames. So every buffer between the two is bounded, those of the kernel included.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from elastic_inference.domain.errors import ElasticInferenceError

log = logging.getLogger(__name__)

# The kernel doubles what is asked of it. With 128 kB a viewer that read 10 of 30 frames of 50 kB a second saw them
# 1.6 s old instead of 1.1 s, and the throughput was the same.
UPSTREAM_RECEIVE_BYTES = 64 * 1024
CLIENT_UNSENT_BYTES = 64 * 1024
CHUNK_BYTES = 128 * 1024
CONNECT_LIMIT_S = 5.0
ANSWER_LIMIT_S = 10.0
# After one side has ended, the other gets so long to take what is left and to end too.
LINGER_S = 5.0
_TCP_NOTSENT_LOWAT = 25 if not hasattr(socket, "TCP_NOTSENT_LOWAT") else socket.TCP_NOTSENT_LOWAT


class UpstreamError(ElasticInferenceError):
    """The websocket server can't be reached or does not answer."""


class ByteStream(Protocol):
    """What the tunnel needs of a TLS connection: Tornado's IOStream has it."""

    def read_bytes(self, num_bytes: int, partial: bool = False) -> Awaitable[bytes]:
        """At most `num_bytes`, as soon as there are any."""

    def write(self, data: bytes | memoryview) -> Awaitable[None]:
        """Done when `data` is with the kernel."""

    def close(self) -> None:
        """Ends the connection."""


async def open_upstream(host: str, port: int, head: bytes) -> tuple[socket.socket, bytes]:
    """A connection to the websocket server that has got the request `head`, and the first bytes of its answer.

    Raises UpstreamError when it refuses, is away or stays silent.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_LIMIT_S):
            upstream = await _connect(loop, host, port)
    except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a name that no look-up takes
        raise UpstreamError(f"the websocket server at {host}:{port} can't be reached: {_words(error)}") from None
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await loop.sock_sendall(upstream, head)
            answer = await loop.sock_recv(upstream, CHUNK_BYTES)
    except (OSError, TimeoutError) as error:
        upstream.close()
        raise UpstreamError(f"the websocket server at {host}:{port} does not answer: {_words(error)}") from None
    except BaseException:
        upstream.close()
        raise
    if not answer:
        upstream.close()
        raise UpstreamError(f"the websocket server at {host}:{port} ended the connection")
    return upstream, answer


async def _connect(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError("no address")
    for family, kind, protocol, _name, address in addresses:
        upstream = socket.socket(family, kind, protocol)
        try:
            upstream.setblocking(False)
            # Before connect: the window is agreed on then.
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


def bound_client(client: socket.socket) -> None:
    """Lets little wait unsent in the kernel, whatever the size of the send buffer."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with contextlib.suppress(OSError):  # not known to every kernel: the viewer then lags more
        client.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, CLIENT_UNSENT_BYTES)


class SocketTunnel:
    """Two plain sockets joined by callbacks of the event loop: no task and no future per message.

    Owns both sockets from the start. `done` is set when both are closed.
    """

    def __init__(self, client: socket.socket, upstream: socket.socket) -> None:
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sockets = (client, upstream)
        self._down = _Pump(self._loop, upstream, client, self._ended, self.close)
        self._up = _Pump(self._loop, client, upstream, self._ended, self.close)
        self._linger: asyncio.TimerHandle | None = None

    def start(self, to_client: bytes, to_upstream: bytes) -> None:
        """Begins, with what had been read of either side before."""
        self._down.start(to_client)
        if not self.done.is_set():
            self._up.start(to_upstream)

    def close(self) -> None:
        """Ends both connections at once. Calling it again does nothing."""
        if self.done.is_set():
            return
        self.done.set()
        if self._linger:
            self._linger.cancel()
        for end in self._sockets:
            self._loop.remove_reader(end)
            self._loop.remove_writer(end)
            end.close()

    def _ended(self) -> None:
        if self._down.ended and self._up.ended:
            self.close()
        elif self._linger is None:
            self._linger = self._loop.call_later(LINGER_S, self.close)


class _Pump:
    """One direction: read what is there, write it, and read no more until it is written."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        source: socket.socket,
        sink: socket.socket,
        on_end: Callable[[], None],
        on_failure: Callable[[], None],
    ) -> None:
        self.ended = False
        self._loop = loop
        self._source = source
        self._sink = sink
        self._on_end = on_end
        self._on_failure = on_failure
        self._buffer = bytearray(CHUNK_BYTES)
        self._pending = memoryview(b"")

    def start(self, first: bytes) -> None:
        self._pending = memoryview(first)
        if not first or self._write():
            self._loop.add_reader(self._source, self._read)
        elif self._pending:
            self._loop.add_writer(self._sink, self._continue)

    def _read(self) -> None:
        try:
            count = self._source.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._on_failure()
            return
        if not count:
            self._loop.remove_reader(self._source)
            self.ended = True
            with contextlib.suppress(OSError):  # the other side may have gone already
                self._sink.shutdown(socket.SHUT_WR)
            self._on_end()
            return
        self._pending = memoryview(self._buffer)[:count]
        if not self._write() and self._pending:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._continue)

    def _continue(self) -> None:
        if self._write():
            self._loop.remove_writer(self._sink)
            self._loop.add_reader(self._source, self._read)

    def _write(self) -> bool:
        """Writes as much as the sink takes; True when nothing is left. After a failure nothing is pending."""
        try:
            sent = self._sink.send(self._pending)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._pending = memoryview(b"")
            self._on_failure()
            return False
        self._pending = self._pending[sent:]
        return not self._pending


async def tunnel_streams(
    client: ByteStream, upstream: socket.socket, to_client: bytes, closed: type[Exception]
) -> None:
    """The same for a TLS connection, whose socket can't be taken over; `closed` is what its end raises.

    Returns when either side has ended; both are closed then.
    """
    loop = asyncio.get_running_loop()

    async def down() -> None:
        await client.write(to_client)
        buffer = bytearray(CHUNK_BYTES)
        while count := await loop.sock_recv_into(upstream, buffer):
            await client.write(bytes(memoryview(buffer)[:count]))

    async def up() -> None:
        while True:
            await loop.sock_sendall(upstream, await client.read_bytes(CHUNK_BYTES, partial=True))

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


def _words(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else (getattr(error, "strerror", None) or str(error))
