"""Finds what clients left in the frame queue without an expiry: a bounded share of the key space each second.

Called by housekeeping, on its event loop. All our producers give their keys an expiry in the same round trip, and
Redis removes them. Without the sweep, a client that sets none would fill Redis until an admin steps in.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from elastic_inference.adapters.frame_queue.producer import FRAME_LIFE_EXTRA_S, SOURCE_LIFE_S
from elastic_inference.adapters.frame_queue.reader import QueueClients
from elastic_inference.adapters.redis_input import read_name
from elastic_inference.base import config

# Keys looked at in one share; SCAN may return a few more.
KEYS_A_SHARE = 2000
_SCAN_COUNT = 500
# Streams that one share passes to the janitor of a type.
_MAX_FOUND = 256
_KEY = re.compile(rb"\{queue_([^:{}]+)\}:(frame|taken|source|waiting):(.*)", re.DOTALL)


class Sweeper:
    """One replica's way through the key space. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, clients: QueueClients, rules: config.QueueRules) -> None:
        """The caller closes the clients."""
        self._clients = clients
        frame_ms = int((rules.max_frame_age_s + FRAME_LIFE_EXTRA_S) * 1000)
        self._lives_ms = {b"frame": frame_ms, b"taken": frame_ms, b"source": int(SOURCE_LIFE_S * 1000)}
        self._cursor = 0
        self._turn = 0

    async def sweep(self, types: Sequence[str]) -> Mapping[str, list[str]]:
        """Looks at one share of the keys; call it every second. Returns streams that have a list of frames, by type.

        Keys without an expiry get one, unless they are such a list: the janitor of its type empties it. In a Redis
        Cluster each pass goes through the node of one of `types`.
        """
        client = self._clients.of(types[self._turn % len(types)] if types else "")
        waiting: dict[str, list[str]] = defaultdict(list)
        seen = 0
        while seen < KEYS_A_SHARE:
            reply: Any = await client.scan(self._cursor, match="{queue_*}:*", count=_SCAN_COUNT)
            self._cursor, found = reply
            # Keys that do not match cost time too.
            seen += max(_SCAN_COUNT, len(found))
            await self._look_at(client, found, waiting)
            if self._cursor == 0:
                self._turn += 1
                break
        return waiting

    async def _look_at(self, client: Redis, found: Sequence[bytes], waiting: dict[str, list[str]]) -> None:
        pipe = client.pipeline(transaction=False)
        for key in found:
            parts = _KEY.fullmatch(key)
            if parts is None:
                continue
            infer_type, kind, rest = parts.groups()
            if kind != b"waiting":
                # NX: only a key without an expiry gets one, whatever happens meanwhile.
                pipe.pexpire(key, self._lives_ms[kind], nx=True)
                continue
            type_name, stream = read_name(infer_type), read_name(rest)
            if type_name is None or stream is None:
                pipe.unlink(key)
            elif len(waiting[type_name]) < _MAX_FOUND:
                waiting[type_name].append(stream)
        if pipe.command_stack:
            # An older users.acl lacks rights to some of these keys.
            await pipe.execute(raise_on_error=False)
