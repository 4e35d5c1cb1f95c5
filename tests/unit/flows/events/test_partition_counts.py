"""A partition saves its cameras' counters with the state of their streams, within bounds, and forgets them with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.results import make_result

from elastic_inference.adapters.event_store import Batch, Committed, Entry, Taken
from elastic_inference.domain.events.camera_counts import MINUTE_MS, parse_counts
from elastic_inference.domain.events.rules import CameraRules, Zone
from elastic_inference.domain.result import Detection
from elastic_inference.flows.events import partition_counts
from elastic_inference.flows.events.partition import FORGET_AFTER_MS, Partition
from elastic_inference.flows.events.partition_counts import SAVE_S

STREAM = "gate-1:people:inferred"
DOOR = Zone(name="door", points=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)))
RULES = CameraRules((DOOR,))
NOW_MS = 30_000_000 * MINUTE_MS
EMPTY = Taken((0, 0), (0, 0), 0, {}, True, False)


class Bench:
    """A partition whose time and rules the test sets, and what Redis would hold of it."""

    def __init__(self, taken: Taken = EMPTY, epoch: int = 1) -> None:
        self.rules: dict[str, CameraRules] = {"gate-1": RULES}
        self.now_s = 1000.0
        self.states, self.counts = dict(taken.states), dict(taken.counts)
        self.partition = self._made(taken, epoch)
        self.orders: Iterator[int] = iter(range(1000))

    def _made(self, taken: Taken, epoch: int) -> Partition:
        def rules_of(name: str) -> CameraRules:
            return self.rules.get(name, CameraRules())

        return Partition(3, epoch, taken, window_s=0.5, rules_of=rules_of, now_s=self.now_s)

    def taken_over(self) -> None:
        """Another worker continues with what is saved."""
        place = self.partition.cursor
        self.partition = self._made(Taken(place, place, 0, self.states, False, False, self.counts), 2)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.partition.tick(self.now_s, self.now_ms)

    @property
    def now_ms(self) -> float:
        return NOW_MS + (self.now_s - 1000) * 1000

    def results(self, count: int, stream: str = STREAM, inside: bool = True) -> None:
        """Ten results a second, of somebody in the door or of nobody."""
        person = (Detection("person", 1, 0.9, (0.4, 0.4, 0.5, 0.8)),) if inside else ()
        for order in [next(self.orders) for _ in range(count)]:
            self.now_s += 0.1
            result = make_result(
                stream=stream, order=order, seq=order, detections=person, arrived_ms=self.now_ms, age_ms=0.0
            )
            self.partition.feed([Entry((int(self.now_ms), 0), result)], self.now_s)
            self.partition.tick(self.now_s, self.now_ms)

    def write(self, whole: bool = False, **done: Any) -> Batch | None:
        batch = self.partition.batch(self.now_s, whole)
        if batch is not None:
            self.states |= batch.states
            self.counts |= batch.counts
            for name in batch.forget:
                self.states.pop(name, None)
            for name in batch.forget_counts:
                self.counts.pop(name, None)
            self.partition.committed(batch, Committed(done.get("before", batch.number - 1), 0, 0, 0), self.now_s)
        return batch

    def entered(self) -> int:
        return sum(row.entered for zone in parse_counts(self.counts["gate-1"]).zones for row in zone.labels)


def test_counters_are_saved_every_few_seconds_with_the_state_of_their_stream() -> None:
    bench = Bench()
    bench.results(20)
    early = bench.write()
    assert early is not None
    assert not early.counts
    bench.wait(SAVE_S)
    assert bench.write() is not None
    assert bench.entered() == 1
    size = bench.partition.counts.saved_bytes
    assert size == len(bench.counts["gate-1"])
    assert bench.partition.state_bytes == size + len(bench.states[STREAM])
    bench.wait(SAVE_S)
    bench.write()
    assert bench.write(whole=True) is None


def test_at_the_stop_and_after_a_loss_everything_is_written() -> None:
    bench = Bench()
    bench.results(20)
    assert bench.write(whole=True).counts  # type: ignore[union-attr]
    bench.wait(1.0)
    bench.results(1)
    bench.write(before=-1)
    bench.counts.clear()
    bench.wait(1.0)
    assert bench.write() is not None
    assert bench.entered() == 1


@pytest.mark.parametrize("state", ["whole", "lost", "older"])
def test_a_takeover_continues_to_count(state: str) -> None:
    bench = Bench()
    bench.results(20)
    bench.write(whole=True)
    if state == "lost":
        bench.states[STREAM] = b"what nobody can read"
    elif state == "older":
        bench.counts["gate-1"] = b"{}"
    bench.now_s += 120
    bench.taken_over()
    bench.results(2, inside=False)
    bench.now_s += 60
    bench.wait(1)
    bench.write(whole=True)
    assert bench.entered() == 1
    bench.results(20)
    bench.write(whole=True)
    assert bench.entered() == 2
    assert bench.partition.streams[STREAM].analysis.counts().zone("door", "person").entered == 2


def test_a_camera_without_rules_or_without_a_stream_has_no_counters() -> None:
    bench = Bench()
    bench.results(20)
    bench.results(20, "other:people:inferred")
    bench.write(whole=True)
    assert bench.counts.keys() == {"gate-1"}
    bench.rules["gate-1"] = CameraRules()
    bench.wait(1)
    bench.write()
    assert bench.counts == {}
    bench.rules["gate-1"] = RULES
    bench.wait(1)
    bench.write(whole=True)
    assert bench.counts.keys() == {"gate-1"}
    bench.wait(70)
    bench.wait(FORGET_AFTER_MS / 1000)
    bench.write()
    assert bench.counts == bench.states == {}
    assert bench.partition.state_bytes == 0


def test_rules_that_changed_while_nobody_looked_end_the_visits_to_a_zone_that_is_gone() -> None:
    bench = Bench()
    bench.results(20)
    bench.write(whole=True)
    bench.rules["gate-1"] = CameraRules((DOOR.model_copy(update={"name": "other"}),))
    bench.taken_over()
    bench.results(20)
    batch = bench.write(whole=True)
    assert batch is not None
    assert sum(b'"kind":"zone","phase":"end"' in event for event, _ in batch.events) == 1
    assert bench.partition.streams[STREAM].analysis.counts().zones.keys() == {"other"}
    assert [zone.name for zone in parse_counts(bench.counts["gate-1"]).zones] == ["other"]


def test_what_does_not_fit_is_not_saved_and_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.rules["gate-2"] = RULES
    bench.results(20, "gate-2:people:inferred")
    bench.write(whole=True)
    monkeypatch.setattr(partition_counts, "MAX_BYTES", bench.partition.counts.saved_bytes + 50)
    bench.results(20)
    bench.write(whole=True)
    assert bench.partition.counts.refused == 1
    assert bench.counts.keys() == {"gate-2"}
    bench.rules["gate-2"] = CameraRules()
    bench.wait(1)
    bench.write(whole=True)
    assert bench.counts == {}
    bench.write(whole=True)
    assert bench.entered() == 1
