"""Connections to Redis: every form of URL, bounded waits, one place for what a Redis that is away raises.

Called by whoever talks to Redis. A client connects with its first command and again after a failure; it never
retries by itself: services back off in their own way. Knows no key and no queue.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    ConnectionError,
    InvalidResponse,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from elastic_inference.adapters.redis_link import Link
from elastic_inference.base import config
from elastic_inference.domain.errors import SettingError

__all__ = ["REDIS_ERRORS", "Link", "connect", "connect_async", "connect_nodes_async", "explain", "is_cluster"]

CONNECT_TIMEOUT_S = 3.0
# Longer than any blocking command of ours (BLPOP: 1 s), short enough to notice a dead peer.
ANSWER_TIMEOUT_S = 5.0
DEFAULT_PORT = 6379
SENTINEL_PORT = 26379

REDIS_ERRORS: tuple[type[Exception], ...] = (
    ConnectionError,  # refused, reset, still loading, no master known, login refused
    TimeoutError,
    OSError,
    ReadOnlyError,
    ClusterDownError,  # also MASTERDOWN
    AskError,  # also MOVED: the slot is elsewhere now, the next connection asks again
    TryAgainError,
)


@dataclass(frozen=True)
class _Place:
    """A URL taken apart. `hosts` are seeds of a cluster, sentinels, or the one server."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    db: int
    username: str | None
    password: str | None

    @property
    def tls(self) -> bool:
        return self.scheme.startswith("rediss")


def connect(target: config.RedisTarget, *, key: str | None = None, name: str = "") -> redis.Redis:
    """A plain client of the server that owns `key`, answering in bytes; `name` shows in CLIENT LIST.

    Nothing is sent before the first command. With a Redis Cluster `key` must be given (all keys used later must
    share its slot) and each new connection asks for the slot's owner. Raises SettingError for a URL that makes no
    sense, and later, by commands, REDIS_ERRORS.
    """
    place = _parse(target)
    options = _options(target, place, name) | {"retry": Retry(NoBackoff(), 0)}
    if place.scheme == "unix":
        return redis.Redis(unix_socket_path=place.path, **options)
    if place.scheme.endswith("+sentinel"):
        sentinel_options = _sentinel_options(target, place) | {"retry": Retry(NoBackoff(), 0)}
        sentinels: Any = redis.sentinel.Sentinel(  # type: ignore[no-untyped-call]
            list(place.hosts), sentinel_kwargs=sentinel_options, **_tls(target, place), **options
        )
        client: redis.Redis = sentinels.master_for(place.path, redis_class=_SentinelClient)
        return client
    if place.scheme.endswith("+cluster"):
        pool = redis.ConnectionPool(
            connection_class=_TlsSlotConnection if place.tls else _SlotConnection,
            find_owner=_SlotFinder(place, target, _slot(key)).find,
            **_tls_files(target, place),
            **options,
        )
        return redis.Redis.from_pool(pool)
    (host, port) = place.hosts[0]
    return redis.Redis(host=host, port=port, **_tls(target, place), **options)


def connect_async(target: config.RedisTarget, *, key: str | None = None, name: str = "") -> redis.asyncio.Redis:
    """As `connect`, for asyncio."""
    place = _parse(target)
    options = _options(target, place, name) | {"retry": AsyncRetry(NoBackoff(), 0)}
    if place.scheme == "unix":
        return redis.asyncio.Redis(unix_socket_path=place.path, **options)
    if place.scheme.endswith("+sentinel"):
        sentinel_options = _sentinel_options(target, place) | {"retry": AsyncRetry(NoBackoff(), 0)}
        sentinels: Any = redis.asyncio.sentinel.Sentinel(  # type: ignore[no-untyped-call]
            list(place.hosts), sentinel_kwargs=sentinel_options, **_tls(target, place), **options
        )
        client: redis.asyncio.Redis = sentinels.master_for(place.path, redis_class=_AsyncSentinelClient)
        return client
    if place.scheme.endswith("+cluster"):
        pool = redis.asyncio.ConnectionPool(
            connection_class=_TlsAsyncSlotConnection if place.tls else _AsyncSlotConnection,
            find_owner=_SlotFinder(place, target, _slot(key)).find_async,
            **_tls_files(target, place),
            **options,
        )
        return redis.asyncio.Redis.from_pool(pool)
    (host, port) = place.hosts[0]
    return redis.asyncio.Redis(host=host, port=port, **_tls(target, place), **options)


async def connect_nodes_async(target: config.RedisTarget, name: str = "") -> list[redis.asyncio.Redis]:
    """One client for each server that owns slots of a cluster; raises REDIS_ERRORS when no seed answers."""
    place = _parse(target)
    options = _options(target, place, name) | _tls(target, place)
    nodes = await _SlotFinder(place, target, 0).nodes_async()
    return [
        redis.asyncio.Redis(host=host, port=port, retry=AsyncRetry(NoBackoff(), 0), **options) for host, port in nodes
    ]


async def close_async(client: redis.asyncio.Redis) -> None:
    """Closes the client, and where sentinels found its server, the connections to them too."""
    sentinels = getattr(client.connection_pool, "sentinel_manager", None)
    await client.aclose()
    if sentinels is not None:
        for each in sentinels.sentinels:
            await each.aclose()


def is_cluster(target: config.RedisTarget) -> bool:
    """Whether the target is a Redis Cluster, where each client needs a key."""
    return _parse(target).scheme.endswith("+cluster")


def explain(error: Exception, target: config.RedisTarget) -> str:
    """One line for a log: what is wrong with the Redis at `target`, without a secret."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (AuthenticationError, AuthorizationError)) or "NOAUTH" in text or "WRONGPASS" in text:
        place = _parse(target)
        user = f"user {place.username!r}" if place.username else "the default user"
        given = "its password is wrong" if place.password else "it asks for a password and none is set"
        return f"Redis at {target} refuses {user}: {given}, or the user is off ({_short(text)})"
    if isinstance(error, NoPermissionError):
        return f"Redis at {target} does not allow this user a command or key: {_short(text)}"
    if isinstance(error, InvalidResponse):
        return f"What answers at {target} is no Redis ({_short(text)}): the frame queue's node port is 31003"
    if isinstance(error, ResponseError) and not isinstance(error, REDIS_ERRORS):
        return f"Redis at {target} refuses a command: {_short(text)}"
    return f"Redis at {target} is away: {_short(text)}"


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


def _parse(target: config.RedisTarget) -> _Place:
    url = target.url.get_secret_value()

    def wrong(expected: str) -> SettingError:
        return SettingError("QUEUE_URL or BROKER_URL", str(target), expected)

    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query))
    if unknown := sorted(set(options) - {"db"}):
        raise wrong(f"expected no option but db in it, found {unknown[0][:40]!r}")
    authority, slash, path = rest.partition("/")
    credentials, at, hosts_text = authority.rpartition("@")
    user, _, secret = credentials.partition(":") if at else ("", "", "")
    path = unquote(slash + path) if scheme == "unix" else path.strip("/")
    db_text = options.get("db", "0")
    if scheme == "unix":
        if not path:
            raise wrong("expected unix:///path/of/the/socket")
        hosts: tuple[tuple[str, int], ...] = ()
    else:
        default_port = SENTINEL_PORT if scheme.endswith("+sentinel") else DEFAULT_PORT
        try:
            hosts = tuple(_host_port(part, default_port) for part in hosts_text.split(",") if part)
        except ValueError:
            raise wrong("expected host:port, a host name or an IP address and a port of 1 to 65535") from None
        if not hosts or (len(hosts) > 1 and "+" not in scheme):
            raise wrong("expected one host (several only with redis+sentinel:// and redis+cluster://)")
        if scheme.endswith("+sentinel"):
            path, _, db_path = path.partition("/")
            if not path:
                raise wrong("expected the master's name after the sentinels: redis+sentinel://h:p,h:p/<name>/<db>")
            db_text = db_path or db_text
        else:
            db_text = path or db_text
    if not db_text.isdigit() or int(db_text) > 1_000_000:
        raise wrong("expected the number of a database, 0 by default")
    if scheme.endswith("+cluster") and int(db_text):
        raise wrong("expected no database: a cluster has only number 0")
    password = target.password.get_secret_value() if target.password else (unquote(secret) or None)
    return _Place(scheme, hosts, path, int(db_text), target.username or unquote(user) or None, password)


def _host_port(text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or rest[:1] not in ("", ":"):
            raise ValueError(text)
        port_text = rest.removeprefix(":")
    else:
        host, _, port_text = text.partition(":")
    port = int(port_text or default_port)
    if not 1 <= port <= 65535:
        raise ValueError(text)
    return config.check_host(host), port


def _options(target: config.RedisTarget, place: _Place, name: str) -> dict[str, Any]:
    return {
        "db": place.db,
        "username": place.username,
        "password": place.password,
        "client_name": name or None,
        "socket_timeout": ANSWER_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry_on_error": [],
        # RESP2: no handshake beyond the login, and replies as the parsers of this package expect them.
        "protocol": 2,
    } | ({} if place.scheme == "unix" else {"socket_keepalive": True})


def _tls_files(target: config.RedisTarget, place: _Place) -> dict[str, Any]:
    if not place.tls:
        return {}
    return {"ssl_ca_certs": target.ca_file, "ssl_cert_reqs": "required", "ssl_min_version": ssl.TLSVersion.TLSv1_2}


def _tls(target: config.RedisTarget, place: _Place) -> dict[str, Any]:
    return {"ssl": True, **_tls_files(target, place)} if place.tls else {}


def _sentinel_options(target: config.RedisTarget, place: _Place) -> dict[str, Any]:
    """How to reach the sentinels: they have a login only where the URL has one beside the target's own."""
    options: dict[str, Any] = {
        "socket_timeout": CONNECT_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry_on_error": [],
        "protocol": 2,
        **_tls(target, place),
    }
    if target.password is not None:
        user, password = config.url_credentials(target.url.get_secret_value())
        options |= {"username": user, "password": password}
    return options


def _slot(key: str | None) -> int:
    if key is None:
        raise SettingError(
            "BROKER_URL",
            "redis+cluster://…",
            "expected one server: only the frame queue spreads over a cluster, give the broker a Redis of its own",
        )
    return int(key_slot(key.encode()))


class _SlotFinder:
    """Asks the seeds of a cluster, one after the other, who owns what."""

    def __init__(self, place: _Place, target: config.RedisTarget, slot: int) -> None:
        self._seeds = place.hosts
        self._slot = slot
        self._options = _options(target, place, "") | _tls(target, place)

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
        # A node that does not know its own address leaves it empty: the one that was asked.
        found.append((int(first), int(last), text or asked, int(port)))
    return found


class _SentinelClient(redis.Redis):
    """Closes its connections to the sentinels too."""

    def close(self) -> None:
        manager = self.connection_pool.sentinel_manager  # type: ignore[attr-defined]
        super().close()
        for sentinel in manager.sentinels:
            sentinel.close()


class _AsyncSentinelClient(redis.asyncio.Redis):
    """As `_SentinelClient`, for asyncio."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        manager = self.connection_pool.sentinel_manager  # type: ignore[attr-defined]
        await super().aclose(close_connection_pool)
        for sentinel in manager.sentinels:
            await sentinel.aclose()


class _SlotConnection(redis.Connection):
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


class _TlsSlotConnection(_SlotConnection, redis.SSLConnection):
    pass


class _AsyncSlotConnection(redis.asyncio.Connection):
    """As `_SlotConnection`, for asyncio."""

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


class _TlsAsyncSlotConnection(_AsyncSlotConnection, redis.asyncio.SSLConnection):
    pass
