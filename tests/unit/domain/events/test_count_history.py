"""The last hour of a camera's counters: minutes, totals over a takeover, bounds, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elastic_inference.domain.errors import InvalidCountsError
from elastic_inference.domain.events.camera_counts import (
    HISTORY_MINUTES,
    MAX_COUNTS_BYTES,
    MAX_SERIES,
    MINUTE_MS,
    CameraCounts,
    counts_json,
    parse_counts,
)
from elastic_inference.domain.events.count_history import CountHistory
from elastic_inference.domain.events.counts import Counts
from elastic_inference.domain.events.rules import CameraRules, Line, Zone

START_MS = 29_833_333 * MINUTE_MS
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
YARD = Zone(name="yard", points=SQUARE)
GATE = Line.model_validate({"name": "gate", "from": (0, 0), "to": (1, 1)})
RULES = CameraRules((YARD,), (GATE,))


def saved(history: CountHistory) -> CameraCounts:
    """The history as the next worker reads it."""
    history.changed = False
    return parse_counts(counts_json(history.document()))


def sample(history: CountHistory, counts: Counts, minute: float, rules: CameraRules = RULES, runs: bool = True) -> None:
    history.sample(rules, [("people", counts)], START_MS + minute * MINUTE_MS, runs)


def visit(counts: Counts, seconds: float = 3.0) -> None:
    """Somebody enters and leaves."""
    seen = counts.zone("yard", "person")
    seen.enter()
    seen.stay(seconds)
    seen.leave()


def test_each_minute_has_what_was_counted_in_it() -> None:
    history, counts = CountHistory("gate-1"), Counts()
    sample(history, counts, 0.0)
    visit(counts, 4.0)
    counts.zone("yard", "person").enter()
    counts.line("gate", "person").inward += 2
    sample(history, counts, 0.5)
    sample(history, counts, 1.0)
    counts.zone("yard", "person").leave()
    sample(history, counts, 1.5)
    sample(history, counts, 2.0)
    found = saved(history)
    assert found.minutes == [START_MS, START_MS + MINUTE_MS, START_MS + 2 * MINUTE_MS]
    (row,), (crossed,) = found.zones[0].labels, found.lines[0].labels
    assert (row.present, row.entered, row.left, row.longest_s) == (0, 2, 2, 4.0)
    # A visit between two looks is seen all the same, and who is inside when a minute begins is there in it.
    assert (row.by_minute.present, row.by_minute.entered, row.by_minute.left) == ([1, 1, 0], [2, 0, 0], [1, 1, 0])
    assert row.by_minute.longest_s == [4.0, 0.0, 0.0]
    assert (crossed.inward, crossed.by_minute.inward, crossed.by_minute.outward) == (2, [2, 0, 0], [0, 0, 0])


def test_a_worker_that_takes_over_counts_nothing_twice_and_leaves_nothing_out() -> None:
    history, counts = CountHistory("gate-1"), Counts()
    for _ in range(3):
        visit(counts)
    sample(history, counts, 0.0)
    document = saved(history)
    # Their state was saved after the history.
    visit(counts)
    state = Counts.unpack(json.loads(json.dumps(counts.pack())))
    later = CountHistory("gate-1", document)
    later.resume("people", state)
    assert state.zone("yard", "person").entered == 4
    sample(later, state, 3.0)
    assert not history.changed
    (row,) = saved(later).zones[0].labels
    assert (row.entered, row.by_minute.entered) == (4, [3, 1])
    assert saved(later).minutes == [START_MS, START_MS + 3 * MINUTE_MS]


def test_counters_whose_state_was_lost_continue_from_the_saved_totals() -> None:
    history, counts = CountHistory("gate-1"), Counts()
    visit(counts, 9.0)
    counts.zone("yard", "person").enter()
    counts.line("gate", "person").outward += 5
    sample(history, counts, 0.0)
    later, fresh = CountHistory("gate-1", saved(history)), Counts()
    later.resume("people", fresh)
    later.resume("car", other := Counts())
    assert not other.zones
    seen = fresh.zone("yard", "person")
    # Nobody knows who is inside.
    assert (seen.present, seen.entered, seen.left, seen.longest_s) == (0, 2, 1, 9.0)
    assert fresh.line("gate", "person").outward == 5
    visit(fresh)
    sample(later, fresh, 1.0)
    (row,) = saved(later).zones[0].labels
    assert (row.entered, row.by_minute.entered) == (3, [2, 1])


def test_it_holds_an_hour_of_some_labels_of_what_exists() -> None:
    history, counts = CountHistory("gate-1"), Counts()
    for minute in range(2 * HISTORY_MINUTES):
        visit(counts)
        sample(history, counts, minute)
    # Labels are bounded where they are counted, too.
    for kind in ("a", "b", "c", "d"):
        many = Counts()
        for number in range(40):
            many.zone("yard", f"label {number}").enter()
        history.sample(RULES, [("people", counts), (kind, many)], START_MS + 119 * MINUTE_MS, True)
    found = saved(history)
    assert found.minutes[0] == START_MS + 60 * MINUTE_MS
    assert len(found.minutes) == HISTORY_MINUTES
    assert sum(found.zones[0].labels[0].by_minute.entered) == 60
    assert found.zones[0].labels[0].entered == 120
    every = Counts()
    for number in range(8):
        for label in range(32):
            every.zone(f"zone-{number}", f"label {label}").enter()
    zones = tuple(Zone(name=f"zone-{number}", points=SQUARE) for number in range(8))
    history.sample(CameraRules(zones), [("people", every)], START_MS, True)
    assert sum(len(zone.labels) for zone in saved(history).zones) == MAX_SERIES
    sample(history, counts, 120, CameraRules((YARD,)))
    assert ([zone.name for zone in saved(history).zones], saved(history).lines) == (["yard"], [])


def test_without_results_no_minute_begins_but_what_ends_is_counted() -> None:
    history, counts = CountHistory("gate-1"), Counts()
    counts.zone("yard", "person").enter()
    sample(history, counts, 0.0)
    counts.zone("yard", "person").leave()
    sample(history, counts, 5.0, runs=False)
    assert saved(history).minutes == [START_MS]
    assert saved(history).zones[0].labels[0].by_minute.left == [1]
    sample(history, counts, 6.0, runs=False)
    assert not history.changed
    sample(history, counts, 9.0)
    assert saved(history).minutes == [START_MS, START_MS + 9 * MINUTE_MS]


def test_a_clock_that_is_set_back_does_not_stop_the_minutes() -> None:
    history, counts = CountHistory("gate-1"), Counts()
    sample(history, counts, 100.0)
    visit(counts)
    sample(history, counts, 90.0)
    assert saved(history).minutes == [START_MS + 100 * MINUTE_MS]
    visit(counts)
    sample(history, counts, 10.0)
    found = saved(history)
    assert found.minutes == [START_MS + 10 * MINUTE_MS]
    assert (found.zones[0].labels[0].entered, found.zones[0].labels[0].by_minute.entered) == (2, [1])


def test_zones_without_a_visit_are_named_with_their_shape() -> None:
    history = CountHistory("gate-1")
    sample(history, Counts(), 0.0)
    found = json.loads(counts_json(saved(history)))
    assert found["zones"] == [{"name": "yard", "labels": [], "points": [[0, 0], [1, 0], [1, 1]]}]
    assert found["lines"] == [{"name": "gate", "labels": [], "points": [[0, 0], [1, 1]]}]


def test_a_shape_that_was_moved_is_saved_and_counts_go_on() -> None:
    history, counts = CountHistory("gate-1"), Counts()
    visit(counts)
    sample(history, counts, 0.0)
    later = CountHistory("gate-1", saved(history))
    assert saved(later) == saved(history), "the next worker knows the shape before it knows the rules"
    sample(later, counts, 0.0)
    assert not later.changed, "nothing is written again at a takeover"
    moved = Zone(name="yard", points=((0.0, 0.0), (0.5, 0.0), (0.5, 0.5)))
    sample(later, counts, 0.0, CameraRules((moved,), (GATE,)))
    assert later.changed
    (zone,) = saved(later).zones
    assert zone.points == moved.points
    assert zone.labels[0].entered == 1


def test_the_counts_of_an_older_worker_have_no_shape() -> None:
    found = example()
    for each in (*found["zones"], *found["lines"]):
        del each["points"]
    read = parse_counts(json.dumps(found).encode())
    assert (read.zones[0].points, read.lines[0].points) == ((), ())
    assert read.zones[0].labels[0].entered == 1


def example() -> dict[str, Any]:
    history, counts = CountHistory("gate-1"), Counts()
    visit(counts)
    counts.line("gate", "person").inward += 1
    sample(history, counts, 0.0)
    found: dict[str, Any] = json.loads(counts_json(history.document()))
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"minutes": []},
        {"minutes": [START_MS + 1]},
        {"minutes": [START_MS, START_MS]},
        {"minutes": [-MINUTE_MS]},
        {"camera": "a:b"},
        {"at_ms": "now"},
        {"zones": [*example()["zones"], *example()["zones"]]},
        {"zones": [{**example()["zones"][0], "labels": 2 * example()["zones"][0]["labels"]}]},
        {"lines": [{"name": "gate", "labels": [{**example()["lines"][0]["labels"][0], "in": -1}]}]},
        {"lines": [{"name": "", "labels": []}]},
        {"lines": [{"name": "gate", "labels": [], "points": [[0, 0], [1, 2]]}]},
        {"zones": [{"name": "yard", "labels": [], "points": [[0, 0]] * 33}]},
    ],
)
def test_what_no_event_worker_has_written_is_refused(change: dict[str, Any]) -> None:
    parse_counts(json.dumps({**example(), "new field": 1}).encode())
    with pytest.raises(InvalidCountsError):
        parse_counts(json.dumps({**example(), **change}).encode())


def test_a_document_that_is_too_large_is_not_read() -> None:
    with pytest.raises(InvalidCountsError, match="bytes"):
        parse_counts(json.dumps(example()).encode() + b" " * MAX_COUNTS_BYTES)


@pytest.mark.parametrize(
    "wrong", [["a", 0, 0, 0], [True, 0, 0, 0], [0, 0, 0], [0, float("nan"), 0, 0], [-(2**60), 0, 0, 0]]
)
def test_counts_that_are_no_numbers_are_refused(wrong: list[Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Counts.unpack([{"yard": {"person": wrong}}, {}])
