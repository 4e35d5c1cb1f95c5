"""Runs the janitor: the script that keeps a type's queue bounded and fresh while no pod pops.

Called by housekeeping, on its event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.queue_reader import SOURCE_LISTED_MS, QueueClients
from elastic_inference.adapters.frame_queue.scripts import all_scripts, script
from elastic_inference.base import config
from elastic_inference.domain import keys

# A little less than the second between two runs, so that a replica's own lock never stops it.
LOCK_MS = 950
# Names that one run looks at; the next run continues after them.
NAMES_A_RUN = 1024


class Janitor:
    """One replica's janitor for all types. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, clients: QueueClients, rules: config.QueueRules, holder: str) -> None:
        """`holder` names this replica in the locks. The caller closes the clients."""
        self._clients = clients
        self._rules = rules
        self._holder = holder
        # Where the next run of a type starts, among its names and among its sources.
        self.starts: dict[str, tuple[int, int]] = {}

    async def run(self, infer_type: str, names: int = NAMES_A_RUN, found: Sequence[str] = ()) -> bool:
        """Runs the janitor of a type unless another replica did so within a second. Returns whether it ran.

        Call it every second for every type. It looks at no more than `names` streams, those of `found` first. It also
        restores the scripts after Redis has restarted. Runs even while Redis is out of memory.
        """
        client = self._clients.of(infer_type)
        rules = self._rules
        arguments: tuple[Any, ...] = (
            *(script("janitor").sha, 6, keys.tokens(infer_type), keys.legacy_queue(infer_type)),
            *(keys.dropped(infer_type), keys.sources(infer_type), keys.legacy_account(infer_type)),
            *(keys.janitor_lock(infer_type), keys.queue_prefix(infer_type), int(rules.max_frame_age_s * 1e6)),
            *(rules.queue_depth, SOURCE_LISTED_MS, rules.token_limit, names, *self.starts.get(infer_type, (0, 0))),
            *(LOCK_MS, self._holder, rules.legacy_bytes, *found),
        )
        try:
            reply: Any = await client.evalsha(*arguments)
        except NoScriptError:
            await self.load_scripts(infer_type)
            reply = await client.evalsha(*arguments)
        if reply is None:
            return False
        self.starts[infer_type] = (reply[2], reply[3])
        return True

    def forget(self, infer_type: str) -> None:
        """Forgets a type that no longer exists."""
        self.starts.pop(infer_type, None)

    async def load_scripts(self, infer_type: str) -> None:
        """Loads the queue's scripts on the server of this type, also for its producers, who may not load any."""
        pipe = self._clients.of(infer_type).pipeline(transaction=False)
        for each in all_scripts():
            pipe.script_load(each.text)
        await pipe.execute()
