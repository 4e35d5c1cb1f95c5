"""Finds the server of a Redis Cluster that owns a slot, again for each connection.

Called by `redis_connection`. redis-py's own cluster client is not used: all keys of one client share a slot here, and
its routing costs more per command than the command itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, AuthenticationError, ConnectionError
from redis.retry import Retry

from elastic_inference.adapters.redis_errors import REDIS_ERRORS
from elastic_inference.domain.errors import SettingError


def slot_of(key: str | None) -> int:
    """The slot of `key`. Raises SettingError without one: only the queue may use a cluster."""
    if key is None:
        raise SettingError(
            "BROKER_URL",
            "redis+cluster://…",
            "expected one server: only the frame queue spreads over a cluster, give the broker a separate Redis",
        )
    return int(key_slot(key.encode()))


class SlotFinder:
    """Asks the seeds of a cluster, one after another, which server owns which slots."""

    def __init__(self, seeds: Sequence[tuple[str, int]], slot: int, options: Mapping[str, Any]) -> None:
        """`options` are redis-py's, for the connections to the seeds."""
        self._seeds = seeds
        self._slot = slot
        self._options = options

    def find(self) -> tuple[str, int]:
        """(host, port) of the slot's owner."""
        last: Exception = ConnectionError("no seed of the cluster answered")
        for host, port in self._seeds:
            try:
                with redis.Redis(host=host, port=port, retry=Retry(NoBackoff(), 0), **self._options) as client:
                    answer: Any = client.execute_command("CLUSTER SLOTS", keys=[])
                    return self._owner(_ranges(answer, host))
            except AuthenticationError:
                raise
            except REDIS_ERRORS as error:
                last = error
        raise last

    async def find_async(self) -> tuple[str, int]:
        """(host, port) of the slot's owner."""
        return self._owner(await self._ranges_async())

    async def nodes_async(self) -> list[tuple[str, int]]:
        """(host, port) of every server that owns slots."""
        return sorted({(host, port) for _, _, host, port in await self._ranges_async()})

    async def _ranges_async(self) -> list[tuple[int, int, str, int]]:
        last: Exception = ConnectionError("no seed of the cluster answered")
        for host, port in self._seeds:
            try:
                async with redis.asyncio.Redis(
                    host=host, port=port, retry=AsyncRetry(NoBackoff(), 0), **self._options
                ) as client:
                    answer: Any = await client.execute_command("CLUSTER SLOTS", keys=[])  # type: ignore[no-untyped-call]
                    return _ranges(answer, host)
            except AuthenticationError:
                raise
            except REDIS_ERRORS as error:
                last = error
        raise last

    def _owner(self, ranges: list[tuple[int, int, str, int]]) -> tuple[str, int]:
        for first, last, host, port in ranges:
            if first <= self._slot <= last:
                return host, port
        raise ConnectionError(f"no node of the cluster owns slot {self._slot} now")


def _ranges(answer: Any, asked: str) -> list[tuple[int, int, str, int]]:
    """(first slot, last slot, host, port) of CLUSTER SLOTS, raw or as redis-py parses it, which differs by version."""
    if isinstance(answer, dict):
        answer = [(first, last, nodes["primary"]) for (first, last), nodes in answer.items()]
    found = []
    for first, last, owner, *_ in answer:
        host, port = owner[:2]
        text = host.decode() if isinstance(host, bytes) else str(host or "")
        # A node that does not know its own address leaves it empty; it is the node that was asked.
        found.append((int(first), int(last), text or asked, int(port)))
    return found


class SlotConnection(redis.Connection):
    """A connection that asks for the slot's owner whenever it connects."""

    def __init__(self, *, find_owner: Callable[[], tuple[str, int]], **options: Any) -> None:
        self._find_owner = find_owner
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        self.host, self.port = self._find_owner()
        return super()._connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except AskError:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise


class TlsSlotConnection(SlotConnection, redis.SSLConnection):
    """The same over TLS."""


class AsyncSlotConnection(redis.asyncio.Connection):
    """Like `SlotConnection`, for asyncio."""

    def __init__(self, *, find_owner: Callable[[], Any], **options: Any) -> None:
        self._find_owner = find_owner
        super().__init__(**options)

    async def _connect(self) -> None:
        self.host, self.port = await self._find_owner()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except AskError:
            await self.disconnect()
            raise


class TlsAsyncSlotConnection(AsyncSlotConnection, redis.asyncio.SSLConnection):
    """The same over TLS."""
