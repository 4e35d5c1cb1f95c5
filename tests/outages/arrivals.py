"""What a sink's consumer got, and what must hold of it."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

# (stream, order)
Mark = tuple[str, int]
_ID = re.compile(r"(.+)/0-(\d+)-object-0")


def mark_of(event_id: str) -> Mark:
    """The result that an event came of."""
    match = _ID.fullmatch(event_id)
    assert match is not None, event_id
    return match[1], int(match[2])


@dataclass(slots=True)
class Verdict:
    """What was found wrong, in words; empty if nothing was."""

    missing: int = 0
    repeats: int = 0
    problems: list[str] = field(default_factory=list)


class Arrivals:
    """Thread-safe. Only the first arrival of an event counts for the order; a repeat must have the same revision."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revisions: dict[Mark, int] = {}
        self._newest: dict[str, int] = defaultdict(int)
        self._ages: list[tuple[float, float]] = []
        self.repeats = 0
        # What the sink itself sent again, since it had not heard of the consumer's confirmation.
        self.by_sink = 0
        self.problems: list[str] = []

    def add(self, document: bytes | str, again: bool = False) -> None:
        """Takes an event's JSON that has just arrived. `again`: the sink itself says that it may repeat it."""
        found = json.loads(document)
        if again:
            with self._lock:
                if mark_of(found["id"]) in self._revisions:
                    self.by_sink += 1
                    return
        self.note(found["id"], found["rev"], time.time() * 1000 - found["at_ms"])

    def note(self, event_id: str, revision: int, age_ms: float) -> None:
        """Takes an event that arrived `age_ms` after its result was written."""
        mark = mark_of(event_id)
        with self._lock:
            if mark in self._revisions:
                self.repeats += 1
                if self._revisions[mark] != revision:
                    self.problems.append(f"{event_id} came again with another revision")
                return
            if self._newest[mark[0]] > mark[1]:
                self.problems.append(f"{event_id} came after a later one of its stream")
            self._revisions[mark] = revision
            self._newest[mark[0]] = max(self._newest[mark[0]], mark[1])
            self._ages.append((time.monotonic(), age_ms / 1000))

    def marks(self) -> set[Mark]:
        """All that arrived."""
        with self._lock:
            return set(self._revisions)

    def ages_s(self, since: float, until: float = float("inf")) -> list[float]:
        """How old the events were that arrived in this time (monotonic)."""
        with self._lock:
            return [age for at, age in self._ages if since <= at <= until]

    def reached(self, sent: Mapping[str, int]) -> bool:
        """Whether the newest of each stream is at least the one in `sent`."""
        with self._lock:
            return all(self._newest[stream] >= order for stream, order in sent.items())

    def wrong_revisions(self) -> int:
        """Events whose revision is not the number of results of their stream so far."""
        with self._lock:
            return sum(revision != order for (_, order), revision in self._revisions.items())

    def missing(self, sent: Mapping[str, int], besides: Collection[Mark]) -> list[Mark]:
        """What did not arrive of all orders up to those in `sent`."""
        with self._lock:
            return [
                (stream, order)
                for stream, newest in sent.items()
                for order in range(1, newest + 1)
                if (stream, order) not in self._revisions and (stream, order) not in besides
            ]
