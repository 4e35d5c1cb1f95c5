"""The broker's channels on a Redis Cluster: one connection to each server, and sharded subscriptions.

Called by the `hub`, in place of `broker_feed`. A channel's messages come from the server that owns its slot, and
through no other. If one connection is lost, all are made again, since slots may have moved.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from redis.exceptions import ConnectionError

from elastic_inference.adapters.redis_cluster import Address, SlotTable, slot_of
from elastic_inference.adapters.redis_spread_async import AsyncSpreadClient
from elastic_inference.base.backoff import Backoff
from elastic_inference.flows.relay.broker_feed import FeedProtocol, Listener, attach, keep_connected, until_lost


class NodeProtocol(FeedProtocol):
    """One server's connection. `listener` is told that nothing waits once that holds for all servers."""

    def __init__(self, transport: asyncio.Transport, listener: Listener, busy: set[FeedProtocol]) -> None:
        super().__init__(transport, self, b"smessage")
        self._for_all = listener
        self._busy = busy
        self._leaving: Counter[bytes] = Counter()

    def send(self, *words: bytes) -> None:
        if words[0] == b"SUNSUBSCRIBE":
            self._leaving[words[1]] += 1
        super().send(*words)

    def on_message(self, channel: bytes, message: bytes) -> None:
        self._for_all.on_message(channel, message)

    def on_read(self, *, drained: bool) -> None:
        if drained:
            self._busy.discard(self)
        else:
            self._busy.add(self)
        self._for_all.on_read(drained=not self._busy)

    def on_other(self, reply: Any) -> None:
        if not isinstance(reply, list) or len(reply) != 3 or reply[0] != b"sunsubscribe":
            return
        channel = reply[1]
        if type(channel) is not bytes or not self._leaving[channel]:
            # Redis ends the subscriptions of a slot that it gives away.
            self.end(ConnectionError("a slot has moved to another server"))
            return
        self._leaving[channel] -= 1
        if not self._leaving[channel]:
            del self._leaving[channel]


class ShardedFeed:
    """Keeps a connection to each server open while `run` runs. For one event loop; not thread-safe."""

    def __init__(
        self, client: AsyncSpreadClient, listener: Listener, report: Callable[[Exception | None], None]
    ) -> None:
        """As `BrokerFeed`."""
        self._client = client
        self._listener = listener
        self._report = report
        self._wanted: dict[bytes, None] = {}
        self._table: SlotTable | None = None
        self._protocols: dict[Address, NodeProtocol] = {}

    @property
    def connected(self) -> bool:
        """Whether subscriptions are in effect now."""
        return self._table is not None

    def subscribe(self, channel: str) -> None:
        """Delivers the messages of this channel from now on."""
        name = channel.encode()
        self._wanted[name] = None
        self._send(b"SSUBSCRIBE", name)

    def unsubscribe(self, channel: str) -> None:
        """Stops delivering the messages of this channel."""
        name = channel.encode()
        if name in self._wanted:
            del self._wanted[name]
            self._send(b"SUNSUBSCRIBE", name)

    async def run(self) -> None:
        """Connects and subscribes, again after each failure, until cancelled."""
        await keep_connected(self._run_once, self._report)

    async def _run_once(self, backoff: Backoff) -> Exception:
        self._client.forget()
        table = await self._client.slots()
        opened: list[tuple[Any, Any]] = []
        busy: set[FeedProtocol] = set()
        try:
            for address in table.addresses:
                pool: Any = self._client.node(address).connection_pool
                connection = await pool.get_connection()
                opened.append((pool, connection))
                made: Any = attach(connection, lambda transport: NodeProtocol(transport, self._listener, busy))
                self._protocols[address] = made
            self._table = table
            for name in self._wanted:
                self._send(b"SSUBSCRIBE", name)
            backoff.reset()
            self._report(None)
            return await until_lost(list(self._protocols.values()))
        finally:
            self._table = None
            self._protocols.clear()
            for pool, connection in opened:
                await connection.disconnect(nowait=True)
                await pool.release(connection)

    def _send(self, verb: bytes, channel: bytes) -> None:
        """Sends this to the channel's server, if it is connected now."""
        if self._table is None:
            return
        try:
            self._protocols[self._table.owner(slot_of(channel))].send(verb, channel)
        except ConnectionError as error:
            # The slot has no owner: connects again, and asks again which server has it.
            for protocol in self._protocols.values():
                protocol.end(error)
