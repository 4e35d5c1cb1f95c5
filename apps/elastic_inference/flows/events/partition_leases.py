"""Leases partitions: one round every second, in a thread of its own, so that a slow batch does not cost a lease.

Called by `event_worker`. It also says that an event service runs (`events:on`), which makes pods write results.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping

import redis
from redis.exceptions import RedisError

from elastic_inference.adapters.event_store import EventStore
from elastic_inference.adapters.leases import Claim, Holding, LeaseClient
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.domain.leases import LEASE_S, round_s

log = logging.getLogger(__name__)

GROUP = "events"
PART = "leases"
ANNOUNCE_EVERY_S = 10.0
END_LIMIT_S = 9.0
# All partitions cost the same, and any worker has room for all of them.
_COST, _CAPACITY = 1.0, 1024.0


class PartitionLeases:
    """Runs until `close`. `claims` is what this worker may do now."""

    def __init__(
        self,
        client: redis.Redis,
        worker: str,
        partitions: int,
        *,
        lifecycle: Lifecycle,
        explain: Callable[[Exception], str],
    ) -> None:
        self.partitions = 0
        self._wanted = partitions
        self._leases = LeaseClient(client, GROUP, worker)
        self._store = EventStore(client, 1, 1.0)
        self._lifecycle = lifecycle
        self._explain = explain
        self._throttle = Throttle()
        self._claims: Mapping[str, Claim] = {}
        self._announced_at_s = float("-inf")
        # When Redis answered again; None while it is unavailable, after it has answered before.
        self._back_at_s: float | None = float("-inf")
        self._answered = False
        self._hurry = threading.Event()
        self._ends = False
        self._thread = lifecycle.thread("leases", self._run, may_end=True)
        self._thread.daemon = True  # a call that hangs must not block the exit
        lifecycle.declare(PART, "no answer from Redis yet")

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def claims(self, now_s: float) -> tuple[dict[int, int], dict[int, int]]:
        """(partitions held now, partitions held at Redis' last answer), each with the lease's epoch.

        The two differ while Redis is unavailable: leases end, but nobody else can have taken the partitions. `now_s` is
        monotonic.
        """
        count = self.partitions
        held = {int(name): claim for name, claim in self._claims.items() if name.isdigit() and int(name) < count}
        valid = {number: claim.epoch for number, claim in held.items() if claim.until_monotonic > now_s}
        return valid, {number: claim.epoch for number, claim in held.items()}

    def announce_soon(self) -> None:
        """Announces the event service again at the next round, since Redis may have lost everything."""
        self._announced_at_s = float("-inf")

    def close(self) -> None:
        """Releases all leases, so that others can take the partitions at once."""
        self._ends = True
        self._hurry.set()
        if self._thread.ident is not None:
            self._thread.join(END_LIMIT_S)
        if not self._thread.is_alive():
            with contextlib.suppress(RedisError, OSError):
                self._leases.release()
        self._leases.close()
        self._store.close()

    def _run(self) -> None:
        while not self._ends:
            began = time.monotonic()
            self.look(began)
            self._hurry.wait(max(0.0, began + round_s() - time.monotonic()))

    def look(self, now_s: float) -> None:
        """Runs one round; returns whether Redis has answered. The thread calls it every second."""
        try:
            self._round(now_s)
        except (RedisError, OSError) as error:
            why = self._explain(error)
            self._lifecycle.set_missing(PART, why)
            self.announce_soon()
            if self._answered:
                self._back_at_s = None
            if note := self._throttle.note("unavailable"):
                log.warning("%s; partitions are held until their leases end %s", why, note)
        else:
            self._answered = True
            self._lifecycle.set_ready(PART)

    def _round(self, now_s: float) -> None:
        if now_s - self._announced_at_s >= ANNOUNCE_EVERY_S:
            self._announce()
            self._announced_at_s = now_s
        if self._back_at_s is None:
            self._back_at_s = now_s
        # Redis may have lost all leases. Claiming at once what another worker still holds would start it over.
        capacity = _CAPACITY if now_s - self._back_at_s > LEASE_S else 0.0
        held = {name: Holding(claim.epoch, _COST) for name, claim in self._claims.items()}
        found = self._leases.renew(held, capacity, draining=self._ends or self._lifecycle.stopping)
        self._claims = dict(found.held)

    def _announce(self) -> None:
        count = self._store.announce(self._wanted)
        differs = count != self._wanted
        self._lifecycle.set_degraded(
            "partitions",
            f"there are {count} partitions, so RESULT_PARTITIONS={self._wanted} is ignored: to change it, stop every "
            "event service for ten minutes"
            if differs
            else None,
        )
        self.partitions = count
        self._store.want(GROUP, [str(each) for each in range(count)])
