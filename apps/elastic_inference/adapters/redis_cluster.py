"""Finds which servers of a Redis Cluster own which slots.

Called by `redis_connection`, for a client whose keys share a slot: it asks again for each connection. Called by
`redis_spread` and `redis_spread_async` for the stream broker, whose keys lie in many slots. redis-py's own cluster
client is not used: its routing costs more per command than the command itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, AuthenticationError, ConnectionError
from redis.retry import Retry

from elastic_inference.adapters.redis_errors import REDIS_ERRORS

# Host and port of a server.
Address = tuple[str, int]


def slot_of(key: str | bytes) -> int:
    """The slot of a key, or of a channel for sharded messages."""
    return int(key_slot(key if isinstance(key, bytes) else key.encode()))


class SlotTable:
    """Which server owns which slot, as one server of the cluster says."""

    def __init__(self, ranges: Sequence[tuple[int, int, str, int]]) -> None:
        """`ranges`: first slot, last slot, host, port."""
        self.addresses: list[Address] = sorted({(host, port) for _, _, host, port in ranges})
        self._ranges = sorted(ranges)
        self._firsts = [first for first, *_ in self._ranges]

    def owner(self, slot: int) -> Address:
        """Raises ConnectionError if no server owns the slot."""
        index = bisect_right(self._firsts, slot) - 1
        if index >= 0:
            _, last, host, port = self._ranges[index]
            if slot <= last:
                return host, port
        raise ConnectionError(f"no node of the cluster owns slot {slot} now")


class SlotFinder:
    """Asks the servers of a cluster, one after another, which of them owns which slots."""

    def __init__(self, seeds: Sequence[Address], options: Mapping[str, Any]) -> None:
        """`options` are redis-py's, for the connections to the seeds."""
        self._seeds = tuple(seeds)
        self._options = options
        # Servers to ask: the one that answered last, the seeds, and those that it named.
        self._asked: tuple[Address, ...] = self._seeds

    def find(self) -> SlotTable:
        """Raises REDIS_ERRORS if no server answers."""
        attempt = _Attempt()
        for host, port in self._asked:
            with attempt, redis.Redis(host=host, port=port, retry=Retry(NoBackoff(), 0), **self._options) as client:
                answer: Any = client.execute_command("CLUSTER SLOTS", keys=[])
                return self._learn(answer, (host, port))
        raise attempt.last

    async def find_async(self) -> SlotTable:
        """As `find`."""
        # Services that use threads do not load asyncio.
        from redis.asyncio import Redis  # noqa: PLC0415
        from redis.asyncio.retry import Retry as AsyncRetry  # noqa: PLC0415

        attempt = _Attempt()
        for host, port in self._asked:
            with attempt:
                async with Redis(host=host, port=port, retry=AsyncRetry(NoBackoff(), 0), **self._options) as client:
                    answer: Any = await client.execute_command("CLUSTER SLOTS", keys=[])  # type: ignore[no-untyped-call]
                    return self._learn(answer, (host, port))
        raise attempt.last

    def _learn(self, answer: Any, asked: Address) -> SlotTable:
        table = SlotTable(_ranges(answer, asked[0]))
        self._asked = tuple(dict.fromkeys((asked, *self._seeds, *table.addresses)))
        return table


class _Attempt:
    """Keeps the error of one server, so that the next is asked. A refused login is raised: all would refuse it."""

    def __init__(self) -> None:
        self.last: Exception = ConnectionError("no seed of the cluster answered")

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if isinstance(error, AuthenticationError) or not isinstance(error, REDIS_ERRORS):
            return False
        self.last = error
        return True


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

    def __init__(self, *, find_owner: Callable[[], Address], **options: Any) -> None:
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
