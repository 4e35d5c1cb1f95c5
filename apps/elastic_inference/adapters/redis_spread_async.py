"""As `redis_spread`, for asyncio: each command of the stream broker goes to the server of a cluster that owns its key.

Used by the gateway, the websocket server, housekeeping and `ei-status` for `redis+cluster://`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.client import Pipeline

from elastic_inference.adapters.redis_cluster import Address, SlotFinder, SlotTable
from elastic_inference.adapters.redis_errors import REDIS_ERRORS
from elastic_inference.adapters.redis_routes import Command, Routed, raise_first, refuse_transaction


class AsyncSpreadClient(aioredis.Redis):
    """redis-py's commands and pipelines, on a cluster. For one event loop."""

    def __init__(self, finder: SlotFinder, make: Callable[[Address], aioredis.Redis]) -> None:
        """`make` makes a client of one server."""
        super().__init__(protocol=2)
        # Whoever takes a connection from here must fail, not reach another server.
        self.connection_pool = None  # type: ignore[assignment]
        self._finder = finder
        self._make = make
        self._table: SlotTable | None = None
        self._clients: dict[Address, aioredis.Redis] = {}

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Carries out one command. Raises as redis-py."""
        replies = await self.carry_out([(args, options)])
        raise_first(replies)
        return replies[0]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Commands for one round trip to all servers at once. Raises ValueError for a transaction."""
        refuse_transaction(transaction)
        return _AsyncSpreadPipeline(self)

    async def carry_out(self, commands: Sequence[tuple[Command, Mapping[str, Any]]]) -> list[Any]:
        """The answers to commands with their options; an error of a command takes its place. Raises REDIS_ERRORS."""
        try:
            return await self._carry_out(commands)
        except REDIS_ERRORS:
            self.forget()
            raise

    async def slots(self) -> SlotTable:
        """Which server owns which slots. Raises REDIS_ERRORS."""
        if self._table is None:
            table = await self._finder.find_async()
            # Requests on their way to a server that owns nothing any more fail with its connections.
            for address in self._clients.keys() - set(table.addresses):
                await self._clients.pop(address).aclose()
            self._table = table
        return self._table

    def forget(self) -> None:
        """Asks again which server owns which slots, before the next command."""
        self._table = None

    def node(self, address: Address) -> aioredis.Redis:
        """The client of one server."""
        if address not in self._clients:
            self._clients[address] = self._make(address)
        return self._clients[address]

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Closes the connections."""
        clients, self._clients, self._table = self._clients, {}, None
        for client in clients.values():
            await client.aclose(close_connection_pool)

    async def _carry_out(self, commands: Sequence[tuple[Command, Mapping[str, Any]]]) -> list[Any]:
        table = await self.slots()
        routed = Routed([command for command, _ in commands], table)
        pipes = routed.fill(lambda address: self.node(address).pipeline(False), commands)
        answers = await asyncio.gather(
            *(pipe.execute(raise_on_error=False) for pipe in pipes.values()), return_exceptions=True
        )
        for each in answers:
            if isinstance(each, BaseException):
                raise each
        replies: dict[Address, Any] = dict(zip(pipes, answers, strict=True))
        found = routed.join(replies)
        raise_first(found, REDIS_ERRORS)
        return found


class _AsyncSpreadPipeline(Pipeline):
    """Collects commands as redis-py's, and carries them out on a cluster."""

    def __init__(self, client: AsyncSpreadClient) -> None:
        super().__init__(None, client.response_callbacks, False, None)  # type: ignore[arg-type]
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers in order. Raises the first error of a command, or leaves it in its place."""
        stack: list[Any] = self.command_stack
        await self.reset()  # type: ignore[no-untyped-call]
        replies = await self._client.carry_out(stack) if stack else []
        if raise_on_error:
            raise_first(replies)
        return replies
