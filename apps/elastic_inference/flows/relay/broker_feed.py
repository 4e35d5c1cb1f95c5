"""The broker's channels: one connection to Redis that carries every subscription, and comes back by itself.

Called by the `hub`. Address, login, TLS, sentinel and unix sockets are redis-py's business (`redis_connection`): it
opens the connection; then this module's protocol takes the transport over and reads with hiredis. Fed by redis-py's
own pub/sub, the relay reached 0.8 of a bare broadcast loop, this way 1.09.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import hiredis
import redis.asyncio as aioredis
from redis.exceptions import ConnectionError, NoPermissionError, RedisError

from elastic_inference.base.backoff import Backoff

log = logging.getLogger(__name__)

# asyncio reads at most so much at a time: less means that nothing more was waiting.
READ_BYTES = 256 * 1024
# A broker that says nothing is asked every PING_S, and given up after SILENT_S.
PING_S = 1.5
SILENT_S = 4.5
_CHUNK = 500
# A result message has at most 4 MiB of picture and 1 MiB of JSON; the broker may be misconfigured.
_IDLE_BUFFER_BYTES = 1024 * 1024


class Listener(Protocol):
    """What the feed calls, all on the event loop."""

    def on_message(self, channel: bytes, message: bytes) -> None:
        """One message of a channel."""

    def on_read(self, *, drained: bool) -> None:
        """All messages of one read have been handed over; `drained`: nothing more is waiting now."""


class _FeedProtocol(asyncio.Protocol):
    def __init__(self, transport: asyncio.Transport, listener: Listener) -> None:
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.transport = transport
        self.heard_at_s = asyncio.get_running_loop().time()
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._reader = hiredis.Reader()
        self._reader.setmaxbuf(_IDLE_BUFFER_BYTES)

    def send(self, *words: bytes) -> None:
        if not self.transport.is_closing():
            parts = [b"*%d\r\n" % len(words)]
            parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
            self.transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        self.heard_at_s = self._loop.time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
                    self._listener.on_message(reply[1], reply[2])
                elif isinstance(reply, hiredis.ReplyError):
                    refused = NoPermissionError if str(reply).startswith("NOPERM") else ConnectionError
                    self._end(refused(f"the broker answered: {reply}"))
                    return
            self._listener.on_read(drained=len(data) < READ_BYTES)
        except hiredis.HiredisError as error:
            self._end(ConnectionError(f"the broker's answer can't be read: {error}"))
        except Exception as error:
            log.exception("a message could not be handled")
            self._end(ConnectionError(f"a message could not be handled: {error}"))

    def eof_received(self) -> None:
        self._end(ConnectionError("it closed the connection"))

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the connection is closed"))

    def _end(self, error: Exception) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


class BrokerFeed:
    """Keeps one connection with all wanted subscriptions while `run` runs. One event loop."""

    def __init__(
        self,
        client: aioredis.Redis,
        listener: Listener,
        report: Callable[[Exception | None], None],
    ) -> None:
        """`client` is the feed's own, for its address and login; the caller closes it.

        `report` is told why the feed is away, or None when it is back.
        """
        self._pool = client.connection_pool
        self._listener = listener
        self._report = report
        self._wanted: dict[bytes, None] = {}
        self._protocol: _FeedProtocol | None = None

    @property
    def connected(self) -> bool:
        """Whether subscriptions are in effect now."""
        return self._protocol is not None

    def subscribe(self, channel: str) -> None:
        """Messages of this channel are wanted from now on."""
        name = channel.encode()
        self._wanted[name] = None
        if self._protocol is not None:
            self._protocol.send(b"SUBSCRIBE", name)

    def unsubscribe(self, channel: str) -> None:
        """… and are not any more."""
        name = channel.encode()
        if self._wanted.pop(name, _MISSING) is None and self._protocol is not None:
            self._protocol.send(b"UNSUBSCRIBE", name)

    async def run(self) -> None:
        """Until cancelled: connects, subscribes to all that is wanted, and does so again when the broker comes back."""
        backoff = Backoff(first_s=0.1, limit_s=1.0)
        while True:
            try:
                why: Exception = await self._run_once(backoff)
            except (RedisError, OSError) as error:
                why = error
            self._report(why)
            await asyncio.sleep(backoff.next_s())

    async def _run_once(self, backoff: Backoff) -> Exception:
        connection: Any = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            protocol = self._take_over(connection)
            self._subscribe_all(protocol, self._wanted)
            self._protocol = protocol
            backoff.reset()
            self._report(None)
            return await self._watch_over(protocol)
        finally:
            self._protocol = None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    def _take_over(self, connection: Any) -> _FeedProtocol:
        # redis-py has no public way to its transport; tests/integration/websocket_server shows when it moves.
        transport: asyncio.Transport = connection._writer.transport
        protocol = _FeedProtocol(transport, self._listener)
        transport.set_protocol(protocol)
        transport.resume_reading()
        return protocol

    @staticmethod
    def _subscribe_all(protocol: _FeedProtocol, channels: Iterable[bytes]) -> None:
        names = list(channels)
        for start in range(0, len(names), _CHUNK):
            protocol.send(b"SUBSCRIBE", *names[start : start + _CHUNK])

    @staticmethod
    async def _watch_over(protocol: _FeedProtocol) -> Exception:
        loop = asyncio.get_running_loop()
        while True:
            done, _ = await asyncio.wait({protocol.lost}, timeout=PING_S)
            if done:
                return protocol.lost.result()
            silent_s = loop.time() - protocol.heard_at_s
            if silent_s > SILENT_S:
                return ConnectionError(f"it has been silent for {silent_s:.0f} s")
            if silent_s > PING_S / 2:
                protocol.send(b"PING")


_MISSING = object()
