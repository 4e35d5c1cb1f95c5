"""Events in an outbox, as the event service writes them, and what must hold when sinks have got them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from typing import Any

import redis

from elastic_inference.domain import keys
from elastic_inference.domain.events.event import Event, EventKind, Phase, event_json

PARTITIONS = 4
# (id, rev)
Mark = tuple[str, int]


def an_event(number: int, stream: int = 0, **changes: Any) -> Event:
    """The `number`-th event of a stream: a visit to a zone."""
    camera = f"cam-{stream}"
    fields: dict[str, Any] = {
        "id": f"{camera}:people:inferred/1-{number}-yard-0",
        "rev": 1,
        "kind": EventKind.ZONE,
        "phase": Phase.BEGIN,
        "camera": camera,
        "stream": f"{camera}:people:inferred",
        "type": "people",
        "label": "person",
        "zone": "yard",
        "began_ms": 1_700_000_000_000.0,
        "at_ms": 1_700_000_000_000.0,
    }
    return Event(**(fields | changes))


class OutboxWriter:
    """Writes events of several streams, and remembers them in order."""

    def __init__(self, client: redis.Redis, streams: int = 3) -> None:
        self._client = client
        self._streams = streams
        self._lock = threading.Lock()
        self._next = 0
        self.sent: list[Event] = []

    def write(self, count: int, **changes: Any) -> list[Event]:
        """Adds `count` events, the streams in turn."""
        with self._lock:
            made = [
                an_event(number, number % self._streams, **changes) for number in range(self._next, self._next + count)
            ]
            self._next += count
        for event in made:
            self.add(event)
        return made

    def add(self, event: Event) -> None:
        """Adds one event. It counts as sent once Redis has it."""
        partition = int(event.camera.rpartition("-")[2]) % PARTITIONS
        self._client.xadd(keys.events(partition), {"json": event_json(event)})
        self.sent.append(event)

    def steadily(self, rate: float, seconds: float) -> None:
        """Adds `rate` events a second for some time."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * rate) - self._next_since(began)
            if due > 0:
                self.write(due)
            time.sleep(0.01)

    def _next_since(self, began: float) -> int:
        if getattr(self, "_began", None) != began:
            self._began, self._base = began, self._next
        return self._next - self._base


def mark(document: bytes | str) -> Mark:
    """By which a consumer tells repeats."""
    found = json.loads(document)
    return found["id"], found["rev"]


def missing(sent: Iterable[Event], got: Iterable[Mark]) -> list[Mark]:
    """What did not arrive."""
    there = set(got)
    return [(event.id, event.rev) for event in sent if (event.id, event.rev) not in there]


def check(sent: Iterable[Event], got: list[Mark], repeats: int | None = None) -> None:
    """Each event at least once, each stream in order, and at most `repeats` of them again."""
    sent = list(sent)
    assert missing(sent, got) == []
    place = {(event.id, event.rev): index for index, event in enumerate(sent)}
    stream = {(event.id, event.rev): event.stream for event in sent}
    newest: dict[str | None, int] = {}
    seen: set[Mark] = set()
    for each in got:
        if each in seen or each not in place:
            continue
        seen.add(each)
        assert newest.get(stream[each], -1) < place[each], f"{each} came late"
        newest[stream[each]] = place[each]
    if repeats is not None:
        assert len(got) - len(set(got)) <= repeats
