"""The broker's channels: one connection to Redis that carries every subscription and reconnects automatically.

Called by the `hub`; `sharded_feed` does the same on a Redis Cluster. redis-py opens the connection, with address,
login, TLS, Sentinel and Unix sockets (`redis_connection`). Then this module's protocol reads from the transport with
hiredis. With redis-py's own pub/sub the relay reached 0.8 times the rate of a bare broadcast loop, with this module
1.09 times.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

import hiredis
import redis.asyncio as aioredis
from redis.exceptions import ConnectionError, NoPermissionError, RedisError

from elastic_inference.base.backoff import Backoff
from elastic_inference.base.log import Throttle

log = logging.getLogger(__name__)

_SAID = Throttle()
# The maximum that asyncio reads at a time. A shorter read means that nothing more was waiting.
READ_BYTES = 256 * 1024
# A silent broker gets a PING every PING_S; after SILENT_S the connection is closed.
PING_S = 1.5
SILENT_S = 4.5
_CHUNK = 500
# hiredis keeps a read buffer up to this size while it is empty. Large messages may exceed it.
_IDLE_BUFFER_BYTES = 1024 * 1024


class Listener(Protocol):
    """What the feed calls, on the event loop."""

    def on_message(self, channel: bytes, message: bytes) -> None:
        """Called for each message of a channel."""

    def on_read(self, *, drained: bool) -> None:
        """Called when all messages of one read have been delivered. `drained` says that no more are waiting."""


class FeedProtocol(asyncio.Protocol):
    """Reads messages of one connection. `lost` has the reason once it is of no use any more."""

    def __init__(self, transport: asyncio.Transport, listener: Listener, kind: bytes = b"message") -> None:
        """`kind` is the first word of each message: `message`, or `smessage` of a sharded channel."""
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.transport = transport
        self.heard_at_s = asyncio.get_running_loop().time()
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._kind = kind
        self._reader = hiredis.Reader()
        self._reader.setmaxbuf(_IDLE_BUFFER_BYTES)

    def send(self, *words: bytes) -> None:
        """Sends a command, unless the connection closes."""
        if not self.transport.is_closing():
            parts = [b"*%d\r\n" % len(words)]
            parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
            self.transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        """Called by asyncio with what has arrived."""
        self.heard_at_s = self._loop.time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                if isinstance(reply, list) and len(reply) == 3 and reply[0] == self._kind:
                    self._listener.on_message(reply[1], reply[2])
                elif isinstance(reply, hiredis.ReplyError):
                    refused = NoPermissionError if str(reply).startswith("NOPERM") else ConnectionError
                    self.end(refused(f"the broker answered {reply}"))
                    return
                else:
                    self.on_other(reply)
            self._listener.on_read(drained=len(data) < READ_BYTES)
        except hiredis.HiredisError as error:
            self.end(ConnectionError(f"the broker's answer is not Redis' protocol: {error}"))
        except Exception as error:
            if note := _SAID.note(type(error)):
                log.exception("handling a message failed %s", note)
            self.end(ConnectionError(f"handling a message failed: {error}"))

    def on_other(self, reply: Any) -> None:
        """Called with each reply that is neither a message nor an error."""

    def eof_received(self) -> None:
        """Called by asyncio when the broker has closed its side."""
        self.end(ConnectionError("the broker closed the connection"))

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio at the end."""
        self.end(error or ConnectionError("the connection was closed"))

    def end(self, error: Exception) -> None:
        """Says why the connection is of no use any more."""
        if not self.lost.done():
            self.lost.set_result(error)


class BrokerFeed:
    """Keeps one connection with all subscriptions open while `run` runs. For one event loop; not thread-safe."""

    def __init__(
        self,
        client: aioredis.Redis,
        listener: Listener,
        report: Callable[[Exception | None], None],
    ) -> None:
        """`client` is used by the feed alone, for its address and login; the caller closes it.

        `report` is called with the reason when the connection is lost, and with None when it is back.
        """
        self._pool = client.connection_pool
        self._listener = listener
        self._report = report
        self._wanted: dict[bytes, None] = {}
        self._protocol: FeedProtocol | None = None

    @property
    def connected(self) -> bool:
        """Whether subscriptions are in effect now."""
        return self._protocol is not None

    def subscribe(self, channel: str) -> None:
        """Delivers the messages of this channel from now on."""
        name = channel.encode()
        self._wanted[name] = None
        if self._protocol is not None:
            self._protocol.send(b"SUBSCRIBE", name)

    def unsubscribe(self, channel: str) -> None:
        """Stops delivering the messages of this channel."""
        name = channel.encode()
        if self._wanted.pop(name, MISSING) is None and self._protocol is not None:
            self._protocol.send(b"UNSUBSCRIBE", name)

    async def run(self) -> None:
        """Connects and subscribes, again after each failure, until cancelled."""
        await keep_connected(self._run_once, self._report)

    async def _run_once(self, backoff: Backoff) -> Exception:
        connection: Any = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            protocol = attach(connection, lambda transport: FeedProtocol(transport, self._listener))
            self._subscribe_all(protocol, self._wanted)
            self._protocol = protocol
            backoff.reset()
            self._report(None)
            return await until_lost([protocol])
        finally:
            self._protocol = None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)

    @staticmethod
    def _subscribe_all(protocol: FeedProtocol, channels: Iterable[bytes]) -> None:
        names = list(channels)
        for start in range(0, len(names), _CHUNK):
            protocol.send(b"SUBSCRIBE", *names[start : start + _CHUNK])


async def keep_connected(
    run_once: Callable[[Backoff], Awaitable[Exception]], report: Callable[[Exception | None], None]
) -> None:
    """Calls `run_once` again each time it returns or raises why the connection is lost. Runs until cancelled.

    `run_once` resets the pauses between the tries once it is connected.
    """
    backoff = Backoff(first_s=0.1, limit_s=1.0)
    while True:
        try:
            why = await run_once(backoff)
        except (RedisError, OSError) as error:
            why = error
        report(why)
        await asyncio.sleep(backoff.next_s())


async def until_lost(protocols: Sequence[FeedProtocol]) -> Exception:
    """Waits until one of the connections is lost or silent; returns why."""
    loop = asyncio.get_running_loop()
    while True:
        done, _ = await asyncio.wait({each.lost for each in protocols}, timeout=PING_S)
        if done:
            return done.pop().result()
        for each in protocols:
            silent_s = loop.time() - each.heard_at_s
            if silent_s > SILENT_S:
                return ConnectionError(f"the broker has been silent for {silent_s:.0f} s")
            if silent_s > PING_S / 2:
                each.send(b"PING")


def attach(connection: Any, make: Callable[[asyncio.Transport], FeedProtocol]) -> FeedProtocol:
    """Takes over a connection that redis-py has opened."""
    # redis-py does not expose its transport; tests/integration/websocket_server fails if this attribute moves.
    transport: asyncio.Transport = connection._writer.transport
    protocol = make(transport)
    transport.set_protocol(protocol)
    transport.resume_reading()
    return protocol


MISSING = object()
