"""The stream broker on a Redis Cluster: its keys lie in many slots, so each command goes to the server that owns it.

`connect` of `redis_connection` makes a `SpreadClient` for `redis+cluster://` without a key. `open_link` makes a link of
any client: code that uses links and the client's commands works with one server and with a cluster. No transactions;
all keys of one command share a slot.

If one server is unavailable, so is the broker: until it can be reached, a link sends nothing to the others. The next
call asks which servers own which slots now, so a replica that has taken over is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import redis
from redis.client import Pipeline
from redis.exceptions import ResponseError

from elastic_inference.adapters.redis_cluster import Address, SlotFinder, SlotTable
from elastic_inference.adapters.redis_errors import REDIS_ERRORS
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.adapters.redis_routes import Command, Routed, raise_first, refuse_transaction

# Redis can wait for keys of one slot alone, so streams of several are read this often until an entry comes.
POLL_S = 0.02
_SLOW_POLL_S = 0.05


class Link(Protocol):
    """A connection for pipelines; see `PipelineConnection`."""

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Sends all commands at once and returns one raw reply for each."""

    def close(self) -> None:
        """Closes the connection."""


def open_link(client: redis.Redis) -> Link:
    """A link to the server of `client`, or to all servers of a cluster. Not thread-safe; nothing is sent yet."""
    return SpreadLink(client) if isinstance(client, SpreadClient) else PipelineConnection(client)


def read_streams(link: Link, cursors: Mapping[str, str], count: int, block_ms: int) -> Any:
    """Redis' answer to `XREAD` of these keys from these ids, at most `count` each; waits for the first entry."""
    if isinstance(link, SpreadLink):
        return _poll(lambda: _rows(link.exchange(_reads(cursors, count))), block_ms)
    command = ("XREAD", "COUNT", count, "BLOCK", max(1, block_ms), "STREAMS", *cursors, *cursors.values())
    (reply,) = link.exchange([command])
    if isinstance(reply, ResponseError):
        raise reply
    return reply


class SpreadLink:
    """A connection to each server that owns slots, for pipelines. Not thread-safe."""

    def __init__(self, client: SpreadClient) -> None:
        self._finder, self._make = client.finder, client.make
        self._table: SlotTable | None = None
        self._links: dict[Address, PipelineConnection] = {}
        # redis-py closes the connections of a client that nobody holds.
        self._clients: list[redis.Redis] = []

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """As `PipelineConnection.exchange`, one round trip to all servers at once.

        If it raises, it is unknown which commands were carried out.
        """
        try:
            return self._exchange(commands)
        except BaseException:
            # Replies may be unread, and slots may have moved.
            self.close()
            raise

    def close(self) -> None:
        """Closes the connections."""
        links, self._links, self._table = self._links, {}, None
        clients, self._clients = self._clients, []
        for link in links.values():
            link.close()
        for client in clients:
            client.close()

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        table = self._table = self._table or self._finder.find()
        routed = Routed(commands, table)
        for address in routed.by_server:
            self._link(address).ready()
        for address, own in routed.by_server.items():
            self._links[address].begin([part for part, _ in own])
        return routed.join(
            {address: self._links[address].receive([], len(own)) for address, own in routed.by_server.items()}
        )

    def _link(self, address: Address) -> PipelineConnection:
        if address not in self._links:
            client = self._make(address)
            self._clients.append(client)
            self._links[address] = PipelineConnection(client)
        return self._links[address]


class SpreadClient(redis.Redis):
    """redis-py's commands and pipelines, on a cluster. Not thread-safe; links made of it are independent of it."""

    def __init__(self, finder: Callable[[], SlotFinder], make: Callable[[Address], redis.Redis]) -> None:
        """`make` makes a client of one server."""
        super().__init__(protocol=2)
        # Whoever takes a connection from the client instead of a link must fail, not reach another server.
        self.connection_pool = None  # type: ignore[assignment]
        self.make = make
        self._new_finder = finder
        self._finder = finder()
        self._table: SlotTable | None = None
        self._clients: dict[Address, redis.Redis] = {}

    @property
    def finder(self) -> SlotFinder:
        """Another one, for a link."""
        return self._new_finder()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Carries out one command. Raises as redis-py."""
        replies = self.carry_out([(args, options)])
        raise_first(replies)
        return replies[0]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Commands for one round trip to each server. Raises ValueError for a transaction."""
        refuse_transaction(transaction)
        return _SpreadPipeline(self)

    def xread(  # type: ignore[override]
        self, streams: Mapping[str, str], count: int | None = None, block: int | None = None
    ) -> list[Any]:
        """As redis-py's, for keys of any slots: reads again every 50 ms until an entry comes."""
        return _poll(lambda: self._read_each(streams, count), block or 0, _SLOW_POLL_S)

    def carry_out(self, commands: Sequence[tuple[Command, Mapping[str, Any]]]) -> list[Any]:
        """The answers to commands with their options; an error of a command takes its place. Raises REDIS_ERRORS."""
        try:
            return self._carry_out(commands)
        except REDIS_ERRORS:
            self._forget()
            raise

    def close(self) -> None:
        """Closes the connections."""
        self._forget()

    def _carry_out(self, commands: Sequence[tuple[Command, Mapping[str, Any]]]) -> list[Any]:
        table = self._table = self._table or self._finder.find()
        routed = Routed([command for command, _ in commands], table)
        pipes = routed.fill(lambda address: self._client(address).pipeline(False), commands)
        found = routed.join({address: pipe.execute(raise_on_error=False) for address, pipe in pipes.items()})
        raise_first(found, REDIS_ERRORS)
        return found

    def _read_each(self, streams: Mapping[str, str], count: int | None) -> list[Any]:
        pipe: Any = self.pipeline(False)
        for key, cursor in streams.items():
            pipe.xread({key: cursor}, count=count)
        return [row for found in pipe.execute() for row in found or ()]

    def _client(self, address: Address) -> redis.Redis:
        if address not in self._clients:
            self._clients[address] = self.make(address)
        return self._clients[address]

    def _forget(self) -> None:
        clients, self._clients, self._table = self._clients, {}, None
        for client in clients.values():
            client.close()


class _SpreadPipeline(Pipeline):
    """Collects commands as redis-py's, and carries them out on a cluster."""

    def __init__(self, client: SpreadClient) -> None:
        super().__init__(None, client.response_callbacks, False, None)  # type: ignore[arg-type]
        self._client = client

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers in order. Raises the first error of a command, or leaves it in its place."""
        stack: list[Any] = self.command_stack
        self.reset()
        replies = self._client.carry_out(stack) if stack else []
        if raise_on_error:
            raise_first(replies)
        return replies


def _poll(read: Callable[[], list[Any]], block_ms: int, pause_s: float = POLL_S) -> list[Any]:
    deadline = time.monotonic() + block_ms / 1000
    while True:
        found = read()
        left_s = deadline - time.monotonic()
        if found or left_s <= 0:
            return found
        time.sleep(min(pause_s, left_s))


def _reads(cursors: Mapping[str, str], count: int) -> list[Command]:
    return [("XREAD", "COUNT", count, "STREAMS", key, cursor) for key, cursor in cursors.items()]


def _rows(replies: Sequence[Any]) -> list[Any]:
    rows: list[Any] = []
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
        rows += reply or ()
    return rows
