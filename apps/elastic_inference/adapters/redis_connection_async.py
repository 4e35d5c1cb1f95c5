"""`redis_connection` for asyncio; code that uses it imports it from there.

Called as `redis_connection` is. Services that use threads do not load it, nor asyncio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AskError

from elastic_inference.adapters.redis_connection import (
    options_of,
    parse_target,
    sentinel_options,
    slot_finder,
    tls_files,
    tls_options,
)
from elastic_inference.base import config

if TYPE_CHECKING:
    from elastic_inference.adapters.redis_cluster import Address, SlotFinder

# What Sentinel and clusters need is loaded for their URLs alone.
# ruff: noqa: PLC0415


def connect_async(target: config.RedisTarget, *, key: str | None = None, name: str = "") -> redis.asyncio.Redis:
    """Like `connect`, for asyncio."""
    url = parse_target(target)
    options = options_of(target, url, name) | {"retry": Retry(NoBackoff(), 0)}
    if url.is_socket:
        return redis.asyncio.Redis(unix_socket_path=url.path, **options)
    if url.is_sentinel:
        from redis.asyncio.sentinel import Sentinel

        of_sentinels = sentinel_options(target, url) | {"retry": Retry(NoBackoff(), 0)}
        sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
            list(url.hosts), sentinel_kwargs=of_sentinels, **tls_options(target, url), **options
        )
        client: redis.asyncio.Redis = sentinels.master_for(url.master, redis_class=_AsyncSentinelClient)
        return client
    if url.is_cluster and key is None:
        from elastic_inference.adapters.redis_spread_async import AsyncSpreadClient

        return AsyncSpreadClient(
            slot_finder(url, target),
            lambda address: redis.asyncio.Redis(
                host=address[0], port=address[1], **tls_options(target, url), **options
            ),
        )
    if url.is_cluster:
        pool = redis.asyncio.ConnectionPool(
            connection_class=_TlsSlotConnection if url.is_tls else _SlotConnection,
            find_owner=_owner_finder(slot_finder(url, target), str(key)),
            **tls_files(target, url),
            **options,
        )
        return redis.asyncio.Redis.from_pool(pool)
    (host, port) = url.hosts[0]
    return redis.asyncio.Redis(host=host, port=port, **tls_options(target, url), **options)


async def connect_nodes_async(target: config.RedisTarget, name: str = "") -> list[redis.asyncio.Redis]:
    """One client for each server that owns slots of a cluster. Raises REDIS_ERRORS if no seed answers."""
    url = parse_target(target)
    options = options_of(target, url, name) | tls_options(target, url)
    from elastic_inference.adapters.redis_cluster import SlotFinder

    table = await SlotFinder(url.hosts, options).find_async()
    return [
        redis.asyncio.Redis(host=host, port=port, retry=Retry(NoBackoff(), 0), **options)
        for host, port in table.addresses
    ]


def _owner_finder(finder: SlotFinder, key: str) -> Callable[[], Awaitable[Address]]:
    from elastic_inference.adapters.redis_cluster import slot_of

    async def find() -> Address:
        return (await finder.find_async()).owner(slot_of(key))

    return find


class _AsyncSentinelClient(redis.asyncio.Redis):
    """Closes its connections to the sentinels too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        manager = self.connection_pool.sentinel_manager  # type: ignore[attr-defined]
        await super().aclose(close_connection_pool)
        for sentinel in manager.sentinels:
            await sentinel.aclose()


class _SlotConnection(redis.asyncio.Connection):
    """A connection that asks for the slot's owner whenever it connects."""

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


class _TlsSlotConnection(_SlotConnection, redis.asyncio.SSLConnection):
    """The same over TLS."""
