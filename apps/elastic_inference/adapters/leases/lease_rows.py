"""Reads which worker holds which item, for programs that only read, such as the gateway. Pure.

`lease.lua` describes the rows. They are input from outside: invalid ones are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from elastic_inference.domain import keys
from elastic_inference.domain.leases import LEASE_S, LEAVING_S, MAX_EPOCH, Lease, WorkerLoad, worker_name

_LEASE = re.compile(rb"(\d{1,16}) (\S+) ([\d.e+-]+) (\d{1,16}) (\d{1,16}) (\S+) (\d{1,16})")
_WORKER = re.compile(rb"(\d{1,16}) ([\d.e+-]+) ([\d.e+-]+) ([01]) (\d{1,16}) ([\d.e+-]+) (\d{1,5})")
_MAX_CPU = 4096.0
_MAX_ROW = 1024
_US = 1e6
# All times are by Redis' clock: one in the future means that the clock was set back.
_AHEAD_S = 1.0


def read_leases(
    leases: Mapping[bytes, bytes], workers: Mapping[bytes, bytes], now_s: float
) -> tuple[dict[str, Lease], dict[str, WorkerLoad]]:
    """(leases by item, living workers by name) of the two hashes; `now_s` is the clock of their Redis.

    An item whose worker has died has no worker.
    """
    alive = {
        identifier: found
        for identifier, row in workers.items()
        if len(row) <= _MAX_ROW and (found := _worker(row, now_s)) is not None
    }
    held: dict[str, Lease] = {}
    load: Counter[bytes] = Counter()
    items: Counter[bytes] = Counter()
    for raw_name, row in leases.items():
        name = raw_name.decode("latin-1")
        match = _LEASE.fullmatch(row) if len(row) <= _MAX_ROW and keys.is_name(name) else None
        if match is None:
            continue
        identifier, cost = match[2], _cpu(match[3])
        lives = identifier in alive
        if lives:
            items[identifier] += 1
            load[identifier] += cost  # type: ignore[assignment]
        worker = worker_name(identifier.decode("latin-1")) if lives else None
        leaves = match[6] in alive and match[6] != identifier and now_s - int(match[7]) / _US < LEAVING_S
        former = worker_name(match[6].decode("latin-1")) if leaves else None
        held[name] = Lease(worker, min(int(match[1]), MAX_EPOCH), cost, int(match[5]) / _US > now_s, former)
    return held, {
        worker_name(identifier.decode("latin-1")): WorkerLoad(
            found.capacity, found.used, load[identifier], items[identifier], found.draining, found.seen_ago_s
        )
        for identifier, found in alive.items()
        if keys.is_name(worker_name(identifier.decode("latin-1")))
    }


def _worker(row: bytes, now_s: float) -> WorkerLoad | None:
    match = _WORKER.fullmatch(row)
    if match is None:
        return None
    ago_s = now_s - int(match[1]) / _US
    if not -_AHEAD_S <= ago_s <= min(LEASE_S, int(match[5]) / _US):
        return None
    return WorkerLoad(_cpu(match[2]), _cpu(match[3]), 0.0, 0, match[4] == b"1", max(0.0, ago_s))


def _cpu(raw: bytes) -> float:
    try:
        found = float(raw)
    except ValueError:
        return 0.0
    return found if 0 <= found <= _MAX_CPU else 0.0
