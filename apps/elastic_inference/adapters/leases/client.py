"""One worker's end of the leases of a group: renew, claim, hand over and release, one script call each.

Called by the source worker, once a second from one thread. It uses only what the ACL user *source* may do.
"""

from __future__ import annotations

import functools
import hashlib
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from elastic_inference.adapters.redis_input import read_count, read_name, read_number
from elastic_inference.adapters.redis_spread import open_link
from elastic_inference.domain import keys
from elastic_inference.domain.leases import (
    KEEP_S,
    LEASE_S,
    LEAVING_S,
    MAX_EPOCH,
    MAX_ITEMS,
    MAX_QUARANTINE_S,
    Claim,
    Holding,
    NoWorker,
    Round,
    Unassigned,
    WorkerLoad,
    worker_id,
    worker_name,
)

_REASONS = {reason.value.encode(): reason for reason in NoWorker}


class LeaseClient:
    """One worker's leases; not thread-safe. Methods raise REDIS_ERRORS if Redis is unavailable; leases then expire."""

    def __init__(
        self,
        client: redis.Redis,
        group: str,
        worker: str,
        lease_s: float = LEASE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` is connected with `key=keys.leases(group)`; `worker` passes `keys.is_name`. Call `renew` three
        times in `lease_s`. A process that starts again is another worker, whatever its name."""
        self._link = open_link(client)
        self._group = group
        self._id = worker_id(worker, secrets.token_hex(5))
        self._lease_s = lease_s
        self._monotonic = monotonic
        self._known_at = monotonic()
        self._highest = 0
        self._leaving: dict[str, float] = {}
        # Marks that no answer has confirmed yet, until when (monotonic).
        self._quarantines: dict[str, float] = {}

    def renew(self, held: Mapping[str, Holding], capacity: float, used: float = 0.0, draining: bool = False) -> Round:
        """One round: renews leases and claims items. `held` is what this worker runs; items that leave may be missing.

        `capacity` and `used` are CPU seconds a second. A worker that drains claims nothing, and the others claim what
        it holds.
        """
        started = self._monotonic()
        quarantines = dict(self._quarantines)
        # Items that leave are named too, with an epoch that claims nothing: if Redis has lost its data, they belong to
        # the new worker, not to this one.
        held = dict(held) | {name: Holding(0) for name in self._leaving}
        row = (f"{capacity:.6f}", f"{used:.6f}", int(draining))
        known, highest, holds, leaving, workers, unassigned = self._run("renew", held, row, started)
        for name, until in quarantines.items():
            if self._quarantines.get(name) == until:
                del self._quarantines[name]
        self._highest = max(self._highest, read_count(highest, MAX_EPOCH))
        if known:
            self._known_at = started
        claims = self._read_claims(holds, started) if started - self._known_at < KEEP_S else {}
        names = {found for raw in leaving if (found := read_name(raw))} - claims.keys()
        self._leaving = {name: self._leaving.get(name, started + LEAVING_S) for name in names}
        # Without any further answer, an item must end within its lease.
        ends = {name: min(until, started + self._lease_s) for name, until in self._leaving.items()}
        return Round(claims, ends, _read_workers(workers), _read_unassigned(unassigned))

    def release(self, names: Collection[str] | None = None) -> None:
        """Gives up items at once. Without `names` it gives up all, and leaves the group until it renews."""
        if names is None or names:
            self._run("release", {name: Holding(0) for name in names or ()}, (0, 0, 0), self._monotonic())

    def quarantine(self, name: str, until: float) -> None:
        """Marks an item that this worker holds, with the next round; the mark stays when another worker claims it.

        `until` is by the monotonic clock, at most a day from now. A time that has passed ends the quarantine.
        """
        self._quarantines[name] = until

    def close(self) -> None:
        """Closes the connection. Leases end by themselves unless they are released before."""
        self._link.close()

    def _run(self, command: str, held: Mapping[str, Holding], worker: tuple[str | int, ...], now: float) -> list[Any]:
        """`worker`: capacity, used and 1 if it drains."""
        if len(held) > MAX_ITEMS:
            raise ValueError(f"a worker can hold at most {MAX_ITEMS} items, got {len(held)}")
        sha, text = _script()
        fixed = (
            *(sha, 2, keys.leases(self._group), keys.lease_workers(self._group), keys.wanted(self._group)),
            *(command, self._id, int(self._lease_s * 1e6), *worker, self._highest),
        )
        items = [
            f"{name} {each.epoch} {each.cost:.6f} {each.fenced_by} {self._mark_ms(name, now)} {int(each.blocked)}"
            for name, each in held.items()
        ]
        (reply,) = self._link.exchange([("EVALSHA", *fixed, *items)])
        if isinstance(reply, NoScriptError):
            _, reply = self._link.exchange([("SCRIPT", "LOAD", text), ("EVALSHA", *fixed, *items)])
        if isinstance(reply, ResponseError):
            raise reply
        return list(reply)

    def _mark_ms(self, name: str, now: float) -> int:
        until = self._quarantines.get(name)
        return -1 if until is None else int(max(0.0, min(until - now, MAX_QUARANTINE_S)) * 1000)

    def _read_claims(self, raw: list[Any], started: float) -> dict[str, Claim]:
        claims = {}
        for name, epoch, revision, quarantine_ms in zip(*(raw[i::4] for i in range(4)), strict=False):
            found = read_name(name)
            if found:
                left_s = read_count(quarantine_ms) / 1000
                until = started + left_s if left_s else 0.0
                claims[found] = Claim(
                    read_count(epoch, MAX_EPOCH),
                    read_count(revision),
                    started + self._lease_s,
                    self._quarantines.get(found, until),
                )
        return claims


@functools.cache
def _script() -> tuple[str, str]:
    text = "".join((Path(__file__).parent / f"{part}.lua").read_text() for part in ("lease", "assign", "answer"))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text


def _read_workers(raw: list[Any]) -> dict[str, WorkerLoad]:
    """The workers by name. Of two processes with the same name, the one that has ended is left out."""
    workers: dict[str, WorkerLoad] = {}
    for identifier, ago, capacity, used, load, items, draining in zip(*(raw[i::7] for i in range(7)), strict=False):
        name = worker_name(identifier.decode("latin-1"))
        found = WorkerLoad(
            *(read_number(capacity), read_number(used), read_number(load), read_count(items)),
            draining=draining == 1,
            seen_ago_s=read_count(ago) / 1000,
        )
        if keys.is_name(name) and (name not in workers or found.seen_ago_s < workers[name].seen_ago_s):
            workers[name] = found
    return workers


def _read_unassigned(raw: list[Any]) -> dict[str, Unassigned]:
    found = {}
    for name, cost, why in zip(*(raw[i::3] for i in range(3)), strict=False):
        item, reason = read_name(name), _REASONS.get(why)
        if item and reason:
            found[item] = Unassigned(reason, read_number(cost))
    return found
