"""Leases: which worker runs which items of a group, such as the cameras of the pool.

Pure rules and types, independent of cameras. `adapters/leases` talks to Redis; `doc/leases.md` says how items
are distributed. Times are of this process's monotonic clock, in seconds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

LEASE_S = 3.0
# The longest time from one round to the next.
ROUND_S = 1.0
# How long a former worker may continue after another one has claimed its item, unless its pushes are refused earlier. A
# worker with many new cameras on a busy machine needs that long to connect and receive a key frame.
LEAVING_S = 30.0
# While the wanted items are unknown (Redis has restarted empty), workers keep theirs for this long.
KEEP_S = 15.0
MAX_ITEMS = 4096
MAX_EPOCH = 9_000_000_000_000_000
MAX_QUARANTINE_S = 86_400.0


def round_s() -> float:
    """Time to the next round, in seconds. It varies: with equal times, the worker that always comes just after another
    one would never get a turn to look at all items."""
    return random.uniform(0.8, 1.0) * ROUND_S  # noqa: S311  jitter, not a secret


@dataclass(frozen=True, slots=True)
class Holding:
    """What a worker says about an item that it runs.

    `cost` is measured, in CPU seconds a second; 0 if nothing has been measured yet. `fenced_by` is the epoch with which
    the queue refused its frames, else 0: if the lease is still its own, it gets a higher epoch. `blocked`: it can't run
    until the former worker has ended it.
    """

    epoch: int
    cost: float = 0.0
    fenced_by: int = 0
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """An item that this worker must run until `until_monotonic`, unless a later round says otherwise.

    `revision` is the revision of its specification, 0 while unknown. `quarantined_until` is monotonic, 0 without a
    quarantine.
    """

    epoch: int
    revision: int
    until_monotonic: float
    quarantined_until: float = 0.0


class NoWorker(StrEnum):
    """Why an item has no worker."""

    FULL = "full"
    LARGE = "large"
    DRAINING = "draining"


_SENTENCES = {
    NoWorker.FULL: "it needs {cost:.2f} CPU, and no worker has room for it now",
    NoWorker.LARGE: "it needs {cost:.2f} CPU, more than any worker has",
    NoWorker.DRAINING: "every worker is stopping",
}


@dataclass(frozen=True, slots=True)
class Unassigned:
    """An item that no worker can take. More workers of the same size help, unless `why` is LARGE."""

    why: NoWorker
    cost: float

    @property
    def reason(self) -> str:
        """The reason as a sentence for people."""
        return _SENTENCES[self.why].format(cost=self.cost)


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """A living worker: the CPU that it has and uses, and the total cost and number of its items."""

    capacity: float
    used: float
    load: float
    items: int
    draining: bool
    seen_ago_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """What a worker learns in one round.

    `held`: the items to run, and no others. `leaving`: items that another worker has claimed; this one runs them until
    the queue refuses its frames, or until the time given. `workers`: all living workers, itself included.
    """

    held: Mapping[str, Claim] = field(default_factory=dict)
    leaving: Mapping[str, float] = field(default_factory=dict)
    workers: Mapping[str, WorkerLoad] = field(default_factory=dict)
    unassigned: Mapping[str, Unassigned] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds an item, for programs that only read. `worker` is None if the item waits for one.

    `former` is the worker that hands it over, while it lives and may still run it.
    """

    worker: str | None
    epoch: int
    cost: float
    quarantined: bool
    former: str | None = None


def worker_id(name: str, incarnation: str) -> str:
    """A worker as Redis knows it: a process that starts again under the same name is another worker."""
    return f"{name}:{incarnation}"


def worker_name(identifier: str) -> str:
    """The name in a worker's id."""
    return identifier.partition(":")[0]
