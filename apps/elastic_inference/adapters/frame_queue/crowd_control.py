"""Keeps a crowd of streams from taking the turns of all others of its type.

Called by housekeeping, on its event loop. A login that may push for a type can make up names of streams, and each
stream has its turn. If it may only use names that begin alike (doc/security_sites.md), these names are a group.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.queue_reader import QueueClients
from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.redis_input import read_text
from elastic_inference.domain import keys

# A group of more streams than this, with frames waiting, is a crowd.
MAX_GROUP_STREAMS = 64
# A push to a full list drops what waits longest: between two looks, a client has to push half of TOKEN_LIMIT to reach
# the frames that are served next.
BUSY_PAUSE_S, PAUSE_S = 0.1, 0.5
# If looks take longer than this share of the time, they come less often, down to the longer pause.
_MAX_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Crowd:
    """A type, the beginning of the names of one of its crowds, and how many of the crowds' frames were dropped."""

    infer_type: str
    group: str
    dropped: int


class CrowdControl:
    """Looks at the tokens of types. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, clients: QueueClients, token_limit: int) -> None:
        """The caller closes the clients."""
        self._clients = clients
        self._token_limit = token_limit
        # How long to wait until the next look.
        self.pause_s = PAUSE_S

    async def look(self, infer_types: Sequence[str]) -> list[Crowd]:
        """Lets crowds have every second turn of their types; call it after each `pause_s`. Returns the crowds."""
        self.pause_s = PAUSE_S
        crowds = []
        found = await self._long(infer_types)
        started = time.monotonic()
        for infer_type in found:
            group, dropped = await self._run(infer_type)
            if group:
                crowds.append(Crowd(infer_type, group, dropped))
        if found:
            self.pause_s = min(PAUSE_S, max(BUSY_PAUSE_S, (time.monotonic() - started) / _MAX_SHARE))
        return crowds

    async def _long(self, infer_types: Sequence[str]) -> list[str]:
        """Those of the types that have enough tokens for a crowd."""
        shared = not self._clients.cluster
        found = []
        for part in [infer_types] if shared and infer_types else [[each] for each in infer_types]:
            pipe = self._clients.of(part[0]).pipeline(transaction=False)
            for each in part:
                pipe.llen(keys.tokens(each))
            # A key of the wrong type is an error, which must not keep the other types from being looked at.
            lengths = await pipe.execute(raise_on_error=False)
            found += [
                infer_type
                for infer_type, length in zip(part, lengths, strict=True)
                if isinstance(length, int) and length > MAX_GROUP_STREAMS
            ]
        return found

    async def _run(self, infer_type: str) -> tuple[str, int]:
        client, crowd = self._clients.of(infer_type), script("crowd")
        arguments: tuple[Any, ...] = (
            *(crowd.sha, 2, keys.tokens(infer_type), keys.dropped(infer_type)),
            *(keys.queue_prefix(infer_type), self._token_limit, MAX_GROUP_STREAMS),
        )
        reply: Any
        try:
            reply = await client.evalsha(*arguments)
        except NoScriptError:
            await client.script_load(crowd.text)
            reply = await client.evalsha(*arguments)
        return read_text(reply[0]), int(reply[1])
