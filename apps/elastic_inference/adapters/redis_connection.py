"""Connections to Redis: every form of URL, with bounded waits.

Called by all code that talks to Redis. A client connects with its first command and again after a failure. It never
retries on its own, since services have their own backoff. Independent of keys and queues.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    ResponseError,
)
from redis.retry import Retry

from elastic_inference.adapters.redis_errors import REDIS_ERRORS
from elastic_inference.base import config
from elastic_inference.base.late_names import late_names
from elastic_inference.base.ports import QUEUE_PORT
from elastic_inference.base.redis_url import RedisUrl, parse_redis_url
from elastic_inference.base.url import url_credentials
from elastic_inference.domain.errors import SettingError

if TYPE_CHECKING:
    from elastic_inference.adapters.redis_cluster import Address, SlotFinder
    from elastic_inference.adapters.redis_connection_async import connect_async, connect_nodes_async

# What Sentinel and clusters need is loaded for their URLs alone.
# ruff: noqa: PLC0415

__all__ = [
    "REDIS_ERRORS",
    "connect",
    "connect_async",
    "connect_nodes_async",
    "explain",
    "is_cluster",
]

# asyncio and redis-py's part for it are a tenth of the imports of services that use threads.
__getattr__ = late_names(
    __name__,
    {
        "connect_async": "elastic_inference.adapters.redis_connection_async",
        "connect_nodes_async": "elastic_inference.adapters.redis_connection_async",
    },
)

CONNECT_TIMEOUT_S = 3.0
# Longer than any of our blocking commands (BLPOP: 1 s), short enough to notice a dead peer.
ANSWER_TIMEOUT_S = 5.0


def connect(target: config.RedisTarget, *, key: str | None = None, name: str = "") -> redis.Redis:
    """A client of the server that owns `key`, answering in bytes; `name` shows in CLIENT LIST.

    Nothing is sent before the first command. On a Redis Cluster all keys used later must share the slot of `key`, and
    each new connection asks for its owner; without `key`, each command goes to the server that owns its own (see
    `redis_spread`). Raises SettingError for an invalid URL; commands raise REDIS_ERRORS.
    """
    url = parse_target(target)
    options = options_of(target, url, name) | {"retry": Retry(NoBackoff(), 0)}
    if url.is_socket:
        return redis.Redis(unix_socket_path=url.path, **options)
    if url.is_sentinel:
        from redis.sentinel import Sentinel

        of_sentinels = sentinel_options(target, url) | {"retry": Retry(NoBackoff(), 0)}
        sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
            list(url.hosts), sentinel_kwargs=of_sentinels, **tls_options(target, url), **options
        )
        client: redis.Redis = sentinels.master_for(url.master, redis_class=_SentinelClient)
        return client
    if url.is_cluster and key is None:
        from elastic_inference.adapters.redis_spread import SpreadClient

        return SpreadClient(
            partial(slot_finder, url, target),
            lambda address: redis.Redis(host=address[0], port=address[1], **tls_options(target, url), **options),
        )
    if url.is_cluster:
        from elastic_inference.adapters.redis_cluster import SlotConnection, TlsSlotConnection

        pool = redis.ConnectionPool(
            connection_class=TlsSlotConnection if url.is_tls else SlotConnection,
            find_owner=_owner_finder(slot_finder(url, target), str(key)),
            **tls_files(target, url),
            **options,
        )
        return redis.Redis.from_pool(pool)
    (host, port) = url.hosts[0]
    return redis.Redis(host=host, port=port, **tls_options(target, url), **options)


def is_cluster(target: config.RedisTarget) -> bool:
    """Whether the target is a Redis Cluster, whose keys lie on several servers."""
    return parse_target(target).is_cluster


def explain(error: Exception, target: config.RedisTarget) -> str:
    """One log line that says what is wrong with the Redis at `target`, without a secret."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (AuthenticationError, AuthorizationError)) or "NOAUTH" in text or "WRONGPASS" in text:
        url = parse_target(target)
        user = f"user {url.username!r}" if url.username else "the default user"
        given = "its password is wrong" if url.password else "it asks for a password and none is set"
        return f"Redis at {target} refuses {user}: {given}, or the user is disabled ({_short(text)})"
    if isinstance(error, NoPermissionError):
        return f"Redis at {target} does not allow this user a command or key: {_short(text)}"
    if "max number of clients" in text:
        return (
            f"Redis at {target} refuses new connections: all of its maxclients are in use; CLIENT LIST shows by whom, "
            "and connections that say nothing are closed after its timeout"
        )
    if text.startswith("DENIED "):
        return (
            f"Redis at {target} is in protected mode: it accepts other machines only if it has a password. Give it "
            "users (doc/security.md), or set protected-mode no on a network that is yours alone"
        )
    if isinstance(error, InvalidResponse):
        return f"The server at {target} is not Redis ({_short(text)}): the frame queue's node port is {QUEUE_PORT}"
    if isinstance(error, ResponseError) and not isinstance(error, REDIS_ERRORS):
        return f"Redis at {target} refuses a command: {_short(text)}"
    return f"Redis at {target} is unavailable: {_short(text)}"


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."


def parse_target(target: config.RedisTarget) -> RedisUrl:
    """The target's URL; a login of the target's own replaces the URL's."""
    try:
        url = parse_redis_url(target.url.get_secret_value())
    except ValueError as error:
        raise SettingError("QUEUE_URL or BROKER_URL", str(target), str(error)) from None
    password = target.password.get_secret_value() if target.password else url.password
    return replace(url, username=target.username or url.username, password=password)


def options_of(target: config.RedisTarget, url: RedisUrl, name: str) -> dict[str, Any]:
    """Options of each connection, without TLS and retries."""
    return {
        "db": url.database,
        "username": url.username,
        "password": url.password,
        "client_name": name or None,
        # Otherwise redis-py reads the version from its package's metadata, for each client.
        "driver_info": DriverInfo(lib_version=redis.__version__),
        "socket_timeout": ANSWER_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry_on_error": [],
        # RESP2: no handshake beyond the login, and replies as the parsers of this package expect them.
        "protocol": 2,
    } | ({} if url.is_socket else {"socket_keepalive": True})


def slot_finder(url: RedisUrl, target: config.RedisTarget) -> SlotFinder:
    """Finds the servers of a cluster."""
    from elastic_inference.adapters.redis_cluster import SlotFinder

    return SlotFinder(url.hosts, options_of(target, url, "") | tls_options(target, url))


def _owner_finder(finder: SlotFinder, key: str) -> Callable[[], Address]:
    from elastic_inference.adapters.redis_cluster import slot_of

    return lambda: finder.find().owner(slot_of(key))


def tls_files(target: config.RedisTarget, url: RedisUrl) -> dict[str, Any]:
    """Options of TLS, for classes of connections that always use it; {} without TLS."""
    if not url.is_tls:
        return {}
    return {"ssl_ca_certs": target.ca_file, "ssl_cert_reqs": "required", "ssl_min_version": ssl.TLSVersion.TLSv1_2}


def tls_options(target: config.RedisTarget, url: RedisUrl) -> dict[str, Any]:
    """Options of TLS for a client; {} without TLS."""
    return {"ssl": True, **tls_files(target, url)} if url.is_tls else {}


def sentinel_options(target: config.RedisTarget, url: RedisUrl) -> dict[str, Any]:
    """Options for the sentinels. They have a login only if the URL holds one besides the target's own."""
    options: dict[str, Any] = {
        "socket_timeout": CONNECT_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry_on_error": [],
        "protocol": 2,
        **tls_options(target, url),
    }
    if target.password is not None:
        user, password = url_credentials(target.url.get_secret_value())
        options |= {"username": user, "password": password}
    return options


class _SentinelClient(redis.Redis):
    """Closes its connections to the sentinels too."""

    def close(self) -> None:
        manager = self.connection_pool.sentinel_manager  # type: ignore[attr-defined]
        super().close()
        for sentinel in manager.sentinels:
            sentinel.close()
