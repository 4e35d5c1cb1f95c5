"""A sink's view of the outbox: its cursor in each partition, the entries after it, and its dead letters. Synchronous.

One client for each thread.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import NoScriptError

from elastic_inference.adapters.redis_input import read_count
from elastic_inference.domain import keys
from elastic_inference.domain.events.event import MAX_EVENT_JSON_BYTES
from elastic_inference.domain.leases import MAX_EPOCH

FIRST = "0-0"
MAX_DEAD = 1000
# With the times of LeaseClient: shorter than the time after which a connection counts as dead.
BLOCK_MS = 500
HISTORY_PAGE = 500


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One event in the outbox."""

    partition: int
    id: str
    document: bytes

    @property
    def at_ms(self) -> int:
        """When it was written, by Redis' clock."""
        return int(self.id.partition("-")[0])


class OtherHolderError(Exception):
    """A worker with a newer lease delivers to the sink: this one must not."""


@functools.cache
def _script() -> tuple[str, str]:
    text = (Path(__file__).parent / "acknowledge.lua").read_text()
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text


class SinkOutbox:
    """Every method raises REDIS_ERRORS or RedisError."""

    def __init__(self, client: redis.Redis, sink: str, partitions: int, epoch: Callable[[], int] = lambda: 0) -> None:
        """`client` belongs to the caller's thread, which closes it. `epoch` is that of the lease of the sink."""
        self._client = client
        self._sink = sink
        self._partitions = range(partitions)
        self._epoch = epoch
        self.offset_ms = 0.0

    def cursors(self, known: bool, reached: Mapping[int, str]) -> dict[int, str]:
        """This sink's position in each partition. A new sink starts at the end.

        A missing cursor of a `known` sink was lost with all other data: then everything in the outbox is new to it.
        `reached`: how far the caller has delivered, which Redis may not know yet.

        From now on a worker with an older lease can't acknowledge anything; it may only finish what is in flight.
        """
        self._advance(dict.fromkeys(self._partitions, FIRST))
        pipe = self._client.pipeline(transaction=False)
        for each in self._partitions:
            pipe.hget(keys.event_sinks(each), self._sink)
        found: dict[int, str] = {}
        for each, stored in enumerate(pipe.execute()):
            if stored is not None:
                found[each] = max(stored.decode("ascii", "replace"), reached.get(each, FIRST), key=_order)
                continue
            found[each] = FIRST if known else self._last_id(each)
            self._client.hset(keys.event_sinks(each), self._sink, found[each])
        return found

    def read(self, cursors: Mapping[int, str], count: int, block_ms: int | None = BLOCK_MS) -> list[OutboxEntry]:
        """The next entries, at most `count` of each partition; those of one partition in their order."""
        wanted: Any = {keys.events(each): cursor for each, cursor in cursors.items()}
        names = {keys.events(each).encode(): each for each in cursors}
        answer: Any = self._client.xread(wanted, count=count, block=block_ms)
        found = [
            OutboxEntry(names[key], entry_id.decode(), (fields or {}).get(b"json", b""))
            for key, entries in answer or ()
            for entry_id, fields in entries
        ]
        # Partitions take turns by time.
        return sorted(found, key=lambda entry: entry.at_ms)

    def history(self, cursors: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        """Entries before the cursors, at most the newest `limit` of each partition, oldest first."""
        found: list[OutboxEntry] = []
        for each, cursor in cursors.items():
            mine: list[OutboxEntry] = []
            at = cursor
            while len(mine) < limit:
                page: Any = self._client.xrevrange(keys.events(each), at, "-", count=min(HISTORY_PAGE, limit))
                mine += [OutboxEntry(each, entry_id.decode(), fields.get(b"json", b"")) for entry_id, fields in page]
                if len(page) < min(HISTORY_PAGE, limit):
                    break
                at = f"({page[-1][0].decode()}"
            found += reversed(mine[:limit])
        return found

    def acknowledge(self, cursors: Mapping[int, str], now_ms: float) -> bool:
        """Stores cursors. False if Redis has lost one of them. `now_ms` is this machine's clock.

        Raises OtherHolderError.
        """
        answers = self._advance(cursors)
        self.offset_ms = float(answers[-1][1]) - now_ms
        return all(there for there, _ in answers)

    def check_holder(self) -> None:
        """Raises OtherHolderError if another worker delivers to the sink now."""
        self._advance({0: FIRST})

    def leave(self) -> None:
        """Says that the caller, who has the sink, has delivered and acknowledged all that it took."""
        self._client.hset(keys.event_holders(0), left_field(self._sink), self._epoch())

    def is_left(self) -> bool:
        """Whether the last worker that had the sink has left it."""
        holder, left = self._client.hmget(keys.event_holders(0), [self._sink, left_field(self._sink)])
        return read_count(left, MAX_EPOCH) >= read_count(holder, MAX_EPOCH)

    def intact(self) -> bool:
        """Whether all cursors are still there."""
        pipe = self._client.pipeline(transaction=False)
        for each in self._partitions:
            pipe.hget(keys.event_sinks(each), self._sink)
        return all(stored is not None for stored in pipe.execute())

    def bury(self, document: bytes, reason: str, at_ms: float) -> None:
        """Adds a dead letter. Removes the oldest when there are too many."""
        fields: Any = {"json": document[:MAX_EVENT_JSON_BYTES], "reason": reason[:500], "at_ms": int(at_ms)}
        self._client.xadd(keys.dead_letters(self._sink), fields, maxlen=MAX_DEAD, approximate=False)

    def dead_letters(self, ids: Sequence[str] | None, limit: int) -> list[tuple[str, bytes]]:
        """(id, document) of dead letters, oldest first; those of `ids`, or the first `limit`."""
        key = keys.dead_letters(self._sink)
        if ids is None:
            page: Any = self._client.xrange(key, count=limit)
        else:
            pages: list[Any] = [self._client.xrange(key, each, each) for each in ids[:limit]]
            page = [row for rows in pages for row in rows]
        return [(entry_id.decode(), fields.get(b"json", b"")) for entry_id, fields in page]

    def remove_dead(self, *ids: str) -> int:
        """Removes dead letters; returns how many were there."""
        removed: Any = self._client.xdel(keys.dead_letters(self._sink), *ids) if ids else 0
        return int(removed)

    def remove_all_dead(self) -> int:
        """Removes all dead letters of this moment; returns how many there were."""
        page: Any = self._client.xrange(keys.dead_letters(self._sink), count=MAX_DEAD)
        return self.remove_dead(*(entry_id.decode() for entry_id, _ in page))

    def _advance(self, cursors: Mapping[int, str]) -> list[list[int]]:
        """Runs the script for each partition with one round trip. Raises OtherHolderError."""
        sha, text = _script()
        while True:
            pipe = self._client.pipeline(transaction=False)
            for each, cursor in cursors.items():
                names = (keys.event_sinks(each), keys.event_holders(each))
                pipe.evalsha(sha, len(names), *names, self._sink, cursor, self._epoch())
            answers: list[Any] = pipe.execute(raise_on_error=False)
            if any(isinstance(each, NoScriptError) for each in answers):
                self._client.script_load(text)
                continue
            for each in answers:
                if isinstance(each, Exception):
                    raise each
            if any(there < 0 for there, _ in answers):
                raise OtherHolderError
            return answers

    def _last_id(self, partition: int) -> str:
        page: Any = self._client.xrevrange(keys.events(partition), count=1)
        return str(page[0][0].decode()) if page else FIRST


def left_field(sink: str) -> str:
    """The field of `event_holders(0)` with the epoch of the last worker that has left the sink."""
    return f"{sink}:left"


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, sequence = entry_id.partition("-")
    return (int(ms), int(sequence)) if ms.isdecimal() and sequence.isdecimal() else (0, 0)
