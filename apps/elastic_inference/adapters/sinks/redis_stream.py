"""The sink that adds events to a stream in another Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from elastic_inference.adapters.sinks.access import SinkAccess
from elastic_inference.adapters.sinks.base import Item, LoginRefusedError, PlainSink, RefusedError, UnavailableError
from elastic_inference.adapters.sinks.bounded_socket import BoundedSocket
from elastic_inference.adapters.sinks.tls import SinkContext, ended_words, tls_context, tls_words
from elastic_inference.base.redis_url import parse_redis_url
from elastic_inference.domain.sink_spec import RedisSink

_TIMEOUT_S = 5.0
# An answer consists of a hundred ids of entries.
_MAX_ANSWER_BYTES = 1024 * 1024


class RedisStream(PlainSink):
    """Fields of an entry: `id`, `rev`, `json`, and `resent` for events resent from the dead letters."""

    max_batch = 100

    def __init__(self, spec: RedisSink, access: SinkAccess) -> None:
        self._spec = spec
        self._access = access
        self._client: redis.Redis | None = None

    def deliver(self, items: Sequence[Item]) -> None:
        """Adds the entries with one round trip."""
        try:
            replies = self._add(items)
        except (AuthenticationError, AuthorizationError) as error:
            self.close()
            raise LoginRefusedError(f"Redis refuses the login ({_short(error)})") from None
        except (RedisError, OSError) as error:
            self.close()
            if self._spec.secure and (words := tls_words(error, self._spec)):
                raise UnavailableError(words) from None
            if self._spec.secure and "closed by server" in str(error):
                raise UnavailableError(ended_words(self._spec)) from None
            raise UnavailableError(f"Redis is unavailable ({_short(error)})") from None
        for index, reply in enumerate(replies):
            if not isinstance(reply, Exception):
                continue
            if isinstance(reply, NoPermissionError) or "NOAUTH" in str(reply):
                raise LoginRefusedError(f"Redis does not allow XADD ({_short(reply)})", index)
            if isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE"):
                raise RefusedError(f"the key {self._spec.stream} of this Redis is not a stream", index)
            raise UnavailableError(f"Redis refuses XADD ({_short(reply)})", index)

    def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _add(self, items: Sequence[Item]) -> list[Any]:
        if self._client is None:
            self._client = self._connect()
        # A transaction: either nothing is added, or all of it in order.
        pipe = self._client.pipeline(transaction=True)
        for item in items:
            fields: dict[Any, Any] = {"id": item.event.id, "rev": item.event.rev, "json": item.document}
            if item.resent:
                fields["resent"] = 1
            pipe.xadd(self._spec.stream, fields, maxlen=self._spec.maxlen, approximate=True)
        return pipe.execute(raise_on_error=False)

    def _connect(self) -> redis.Redis:
        spec = self._spec
        try:
            url = parse_redis_url(spec.url)
        except ValueError as error:
            raise LoginRefusedError(f"`url` of this sink: {error}") from None
        host, port = url.hosts[0]
        pool = redis.ConnectionPool(
            connection_class=_RedisConnection,
            tls=tls_context(spec, self._access),
            host=self._access.address(host),
            port=port,
            db=url.database,
            username=spec.user,
            password=self._access.secret(spec.password),
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            client_name="ei-events-sink",
        )
        return redis.Redis.from_pool(pool)


class _RedisConnection(redis.Connection):
    """Connects to the address that was checked; the certificate is for the name."""

    def __init__(self, *, tls: SinkContext | None, **options: Any) -> None:
        self._tls = tls
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        plain = super()._connect()  # type: ignore[no-untyped-call]
        found = plain if self._tls is None else self._tls.wrap_socket(plain)
        return BoundedSocket(found, _TIMEOUT_S, _MAX_ANSWER_BYTES)


def _short(error: object) -> str:
    return " ".join(str(error).split())[:200]
