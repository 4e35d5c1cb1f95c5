"""Runs the janitor: the script that keeps a type's queue bounded and fresh while no pod pops.

Called by housekeeping, on its event loop.
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.reader import SOURCE_LISTED_MS, QueueClients
from elastic_inference.adapters.frame_queue.scripts import all_scripts, script
from elastic_inference.base import config
from elastic_inference.domain import keys

# A little less than the second between two runs, so that a replica's own lock never stops it.
LOCK_MS = 950


class Janitor:
    """One replica's janitor for all types. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, clients: QueueClients, rules: config.QueueRules, holder: str) -> None:
        """`holder` names this replica in the locks. The clients stay the caller's."""
        self._clients = clients
        self._rules = rules
        self._holder = holder

    async def run(self, infer_type: str) -> bool:
        """Runs the janitor of a type unless another replica did so within a second; whether it ran.

        Call it every second for every type. It also restores the scripts after a restart of Redis.
        """
        client = self._clients.of(infer_type)
        if not await client.set(keys.janitor_lock(infer_type), self._holder, nx=True, px=LOCK_MS):
            return False
        arguments: tuple[Any, ...] = (
            *(script("janitor").sha, 5, keys.tokens(infer_type), keys.legacy_queue(infer_type)),
            *(keys.dropped(infer_type), keys.sources(infer_type), keys.legacy_account(infer_type)),
            *(keys.queue_prefix(infer_type), int(self._rules.max_frame_age_s * 1e6), self._rules.queue_depth),
            SOURCE_LISTED_MS,
        )
        try:
            await client.evalsha(*arguments)
        except NoScriptError:
            await self.load_scripts(infer_type)
            await client.evalsha(*arguments)
        return True

    async def load_scripts(self, infer_type: str) -> None:
        """Loads the queue's scripts on the server of this type, also for its producers, who may not load any."""
        pipe = self._clients.of(infer_type).pipeline(transaction=False)
        for each in all_scripts():
            pipe.script_load(each.text)
        await pipe.execute()
