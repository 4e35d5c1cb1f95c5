"""Tells producers which streams are watched: their frames are then needed at full size. asyncio.

Called by the websocket server. Apart from `frame_queue`, whose libraries that server does without.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from elastic_inference.domain import keys

# As long as the mark of a watched stream at the broker.
WATCHED_LIFE_S = 10.0
# Types come from clients.
MAX_TYPES = 256


class WatchedMarks:
    """Writes `{queue_<type>}:want:<name>`. For one event loop; not thread-safe."""

    def __init__(self, connect: Callable[[str], aioredis.Redis], *, by_type: bool) -> None:
        """`connect` returns a client for the slot of a key, which the caller closes. `by_type`: one for each type."""
        self._connect = connect
        self._by_type = by_type
        self._clients: dict[str, aioredis.Redis] = {}

    async def mark(self, stream_ids: Iterable[str]) -> None:
        """Marks these streams for 10 s; call it every 3 s while they are watched.

        Raises REDIS_ERRORS or, where an older users.acl does not allow it, ResponseError.
        """
        by_shard: dict[str, list[str]] = defaultdict(list)
        for each in stream_ids:
            names = keys.split_stream_id(each)
            if names is not None:
                name, infer_type = names
                by_shard[infer_type if self._by_type else ""].append(keys.size_wanted(infer_type, name))
        for shard, marks in by_shard.items():
            client = self._client(shard, marks[0])
            if client is None:
                continue
            async with client.pipeline(transaction=False) as pipe:
                for key in marks:
                    pipe.set(key, keys.WATCHED_VALUE, px=int(WATCHED_LIFE_S * 1000))
                answers = await pipe.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, RedisError):
                    raise answer

    def _client(self, shard: str, key: str) -> aioredis.Redis | None:
        if shard not in self._clients and len(self._clients) < MAX_TYPES:
            self._clients[shard] = self._connect(key)
        return self._clients.get(shard)
