"""Runs the janitor: the script that keeps a type's queue bounded and fresh while no pod pops.

Called by housekeeping, on its event loop.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError

from elastic_inference.adapters.frame_queue.queue_reader import SOURCE_LISTED_MS, QueueClients
from elastic_inference.adapters.frame_queue.scripts import all_scripts, script
from elastic_inference.adapters.redis_input import DropClaims
from elastic_inference.base import config
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason

log = logging.getLogger(__name__)

# A little less than the second between two runs, so that a replica's own lock never stops it.
LOCK_MS = 950
# Names that one run looks at; the next run continues after them.
NAMES_A_RUN = 1024


@dataclass(frozen=True, slots=True)
class JanitorRun:
    """What a run did. `claimed` are drops of a type without pods, which the caller must count."""

    claimed: Counter[DropReason]


class Janitor:
    """One replica's janitor for all types. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, clients: QueueClients, rules: config.QueueRules, holder: str) -> None:
        """`holder` names this replica in the locks. The caller closes the clients."""
        self._clients = clients
        self._rules = rules
        self._holder = holder
        # Where the next run of a type starts, among its names and among its sources.
        self.starts: dict[str, tuple[int, int]] = {}
        self._claims: defaultdict[str, DropClaims] = defaultdict(DropClaims)
        # The names of types come from outside.
        self._throttle = Throttle()

    async def run(
        self, infer_type: str, names: int = NAMES_A_RUN, found: Sequence[str] = (), *, unserved: bool = False
    ) -> JanitorRun | None:
        """Runs the janitor of a type, unless another replica did so within a second: then it returns None.

        Call it every second for every type. It looks at no more than `names` streams, those of `found` first. With
        `unserved`, the type has no pod that would claim its drops, so this run does. It also restores the scripts after
        Redis has restarted. Runs even while Redis is out of memory.
        """
        client = self._clients.of(infer_type)
        rules = self._rules
        arguments: tuple[Any, ...] = (
            *(script("janitor").sha, 6, keys.tokens(infer_type), keys.legacy_queue(infer_type)),
            *(keys.dropped(infer_type), keys.sources(infer_type), keys.legacy_account(infer_type)),
            *(keys.janitor_lock(infer_type), keys.queue_prefix(infer_type), int(rules.max_frame_age_s * 1e6)),
            *(rules.queue_depth, SOURCE_LISTED_MS, rules.token_limit, names, *self.starts.get(infer_type, (0, 0))),
            *(LOCK_MS, self._holder, rules.legacy_bytes, int(unserved), *found),
        )
        try:
            reply: Any = await client.evalsha(*arguments)
        except NoScriptError:
            await self.load_scripts(infer_type)
            reply = await client.evalsha(*arguments)
        if reply is None:
            return None
        self.starts[infer_type] = (reply[2], reply[3])
        return JanitorRun(self._claim(infer_type, reply[4:6]))

    def forget(self, infer_type: str) -> None:
        """Forgets a type that no longer exists."""
        self.starts.pop(infer_type, None)
        self._claims.pop(infer_type, None)

    def _claim(self, infer_type: str, counts: Sequence[int]) -> Counter[DropReason]:
        claims = self._claims[infer_type]
        reasons = (DropReason.QUEUE_FULL, DropReason.STALE)
        drops = [part for reason, count in zip(reasons, counts, strict=True) for part in (reason.value.encode(), count)]
        found = claims.read(drops)
        if claims.refused and (note := self._throttle.note(infer_type)):
            log.warning(
                "type %s: %d drops were not counted, no queue drops that many; another program may have written "
                "into %s %s",
                *(infer_type, claims.refused, keys.dropped(infer_type), note),
            )
        claims.refused = 0
        return found

    async def load_scripts(self, infer_type: str) -> None:
        """Loads the queue's scripts on the server of this type, also for its producers, who may not load any."""
        pipe = self._clients.of(infer_type).pipeline(transaction=False)
        for each in all_scripts():
            pipe.script_load(each.text)
        await pipe.execute()
