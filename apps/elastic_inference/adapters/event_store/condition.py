"""The event service's condition as the broker's Redis shows it: who holds the partitions, and the lag.

asyncio; called by `ei-status`, which may not read the results themselves. Everything here is input from outside.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import NoPermissionError

from elastic_inference.adapters.camera_registry.camera_values import readable
from elastic_inference.adapters.event_store.entries import read_id
from elastic_inference.adapters.leases.lease_rows import read_leases
from elastic_inference.adapters.redis_input import read_count, read_fields
from elastic_inference.adapters.stream_broker.partitions import MAX_PARTITIONS
from elastic_inference.domain import keys

_HASHES = (keys.leases("events"), keys.lease_workers("events"))


@dataclass(frozen=True, slots=True)
class EventCondition:
    """`workers` that run, and partitions that no worker holds; None if this login may not read it.

    `lag_s`: the age of the newest result that no event worker has read.
    """

    partitions: int
    workers: int | None
    unowned: int | None
    lag_s: float


async def read_condition(client: aioredis.Redis, seen: Mapping[str, float]) -> EventCondition | None:
    """None if no event service has run for ten minutes. `seen`: name -> time of the newest result (Unix seconds).

    Raises REDIS_ERRORS when Redis is unavailable, else ResponseError, such as NoPermissionError.
    """
    partitions = read_count(await client.get(keys.EVENTS_ON))
    if not 0 < partitions <= MAX_PARTITIONS:
        return None
    newest: dict[int, float] = {}
    for name, at_s in seen.items():
        number = keys.partition_of(name, partitions)
        newest[number] = max(newest.get(number, 0.0), at_s)
    lag_s = await _lag_s(client, newest)
    try:
        workers, owned = await _owners(client)
    except NoPermissionError:
        return EventCondition(partitions, None, None, lag_s)
    return EventCondition(partitions, workers, sum(str(each) not in owned for each in range(partitions)), lag_s)


async def _lag_s(client: aioredis.Redis, newest: Mapping[int, float]) -> float:
    async with client.pipeline(transaction=False) as pipe:
        for number in newest:
            pipe.hget(keys.event_cursor(number), "read")
        replies = await pipe.execute() if newest else []
    read = {number: position for number, raw in zip(newest, replies, strict=True) if (position := read_id(raw))}
    return max((newest[number] - position[0] / 1000 for number, position in read.items()), default=0.0)


async def _owners(client: aioredis.Redis) -> tuple[int, Collection[str]]:
    """How many workers run, and the partitions that they have."""
    async with client.pipeline(transaction=False) as pipe:
        for key in _HASHES:
            pipe.hlen(key)
            pipe.memory_usage(key, samples=0)
        pipe.time()
        *sizes, clock = await pipe.execute()
    found: list[Any] = []
    for index, key in enumerate(_HASHES):
        small = readable(sizes[2 * index], sizes[2 * index + 1])
        found.append(read_fields(await client.hgetall(key) if small else None))
    held, alive = read_leases(found[0], found[1], clock[0] + clock[1] / 1e6)
    return len(alive), {name for name, lease in held.items() if lease.worker}
