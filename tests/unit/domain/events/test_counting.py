"""Clips with a known number of crossings and visits: counts are exact, and each `begin` has one `end`."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest
from tests.support.clips import START_MS, Walk, analysis, clip, path, play

from elastic_inference.domain.events.analysis import StreamAnalysis
from elastic_inference.domain.events.event import Event, EventKind, Phase

DOOR = {"name": "door", "from": [0.5, 0.2], "to": [0.5, 0.95]}
HALL = {"name": "hall", "points": [[0.3, 0.3], [0.7, 0.3], [0.7, 0.95], [0.3, 0.95]], "dwell_s": 5}
RULES = {"zones": [HALL], "lines": [DOOR]}
LEFT_TO_RIGHT = [(0.0, 0.1, 0.7), (8.0, 0.9, 0.7)]
RIGHT_TO_LEFT = [(0.0, 0.9, 0.85), (8.0, 0.1, 0.85)]


def each_begin_has_one_end(events: Iterable[Event]) -> None:
    lives: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        lives[event.id].append(event)
    for life in lives.values():
        phases = [event.phase for event in life]
        if life[0].kind is EventKind.LINE:
            assert phases == [Phase.END]
            continue
        assert phases[0] is Phase.BEGIN
        assert phases[-1] is Phase.END
        assert set(phases[1:-1]) <= {Phase.UPDATE}
        assert [event.rev for event in life] == list(range(1, len(life) + 1))
        assert life[-1].ended_ms is not None
        assert life[-1].ended_ms >= life[0].began_ms


def crossings(stages: StreamAnalysis) -> tuple[int, int]:
    found = stages.counts().lines.get("door", {}).values()
    return sum(each.inward for each in found), sum(each.outward for each in found)


def visits(stages: StreamAnalysis) -> tuple[int, int, int]:
    found = stages.counts().zones.get("hall", {}).values()
    return sum(e.entered for e in found), sum(e.left for e in found), sum(e.present for e in found)


def seen(walks: Iterable[Walk], seconds: float, fps: float) -> tuple[StreamAnalysis, list[Event]]:
    stages = analysis(RULES)
    events = play(stages, clip(walks, seconds, fps))
    return stages, events + stages.on_end(START_MS + seconds * 1000)


@pytest.mark.parametrize("fps", [2.1, 5, 10, 25])
def test_two_directions(fps: float) -> None:
    """The line points downwards, so its right is on the left of the frame: who walks there comes in."""
    stages, events = seen([path(LEFT_TO_RIGHT), path(RIGHT_TO_LEFT)], 12, fps)
    assert crossings(stages) == (1, 1)
    assert visits(stages) == (2, 2, 0)
    lines = [event for event in events if event.kind is EventKind.LINE]
    assert Counter(event.direction for event in lines) == {"in": 1, "out": 1}
    assert all(abs(event.at_ms - START_MS - 4000) <= 1000 / fps for event in lines)
    each_begin_has_one_end(events)


@pytest.mark.parametrize("fps", [2.1, 10, 25])
@pytest.mark.parametrize("seed", range(3))
def test_a_pause_on_the_line_is_one_crossing(fps: float, seed: int) -> None:
    shaking = random.Random(seed)  # noqa: S311
    walk = path([(0, 0.1, 0.7), (4, 0.5, 0.7), (14, 0.5, 0.7), (18, 0.9, 0.7)])

    def trembles(at_s: float) -> tuple[float, float] | None:
        foot = walk(at_s)
        return foot and (foot[0] + shaking.uniform(-0.012, 0.012), foot[1] + shaking.uniform(-0.012, 0.012))

    stages, events = seen([trembles], 22, fps)
    assert crossings(stages) == (0, 1)
    assert visits(stages) == (1, 1, 0)
    each_begin_has_one_end(events)


@pytest.mark.parametrize("fps", [2.1, 10, 25])
def test_a_step_over_the_line_and_back_counts_both_ways_and_a_lean_over_it_none(fps: float) -> None:
    turns = path([(0, 0.1, 0.7), (4, 0.65, 0.7), (8, 0.65, 0.7), (12, 0.1, 0.7)])
    stages, _ = seen([turns], 14, fps)
    assert crossings(stages) == (1, 1)
    leans = path([(0, 0.2, 0.7), (4, 0.49, 0.7), (5, 0.505, 0.7), (6, 0.49, 0.7), (9, 0.2, 0.7)])
    stages, _ = seen([leans], 12, fps)
    assert crossings(stages) == (0, 0)


def test_who_passes_beside_the_line_does_not_cross_it() -> None:
    stages, _ = seen([path([(0, 0.1, 0.99), (8, 0.9, 0.99)])], 10, 10)
    assert crossings(stages) == (0, 0)


@pytest.mark.parametrize("fps", [2.1, 10, 25])
@pytest.mark.parametrize("hidden", [(1.0, 2.0), (3.5, 4.5), (6.0, 7.5)])
def test_occlusion_splits_no_visit_and_hides_no_crossing(fps: float, hidden: tuple[float, float]) -> None:
    walk = path(LEFT_TO_RIGHT)
    stages, events = seen([lambda at_s: None if hidden[0] < at_s < hidden[1] else walk(at_s)], 12, fps)
    assert crossings(stages) == (0, 1)
    assert visits(stages) == (1, 1, 0)
    each_begin_has_one_end(events)


@pytest.mark.parametrize("fps", [5, 10, 25])
@pytest.mark.parametrize("seed", range(4))
def test_flicker(fps: float, seed: int) -> None:
    """A fifth of the detections is missing, all tremble, and somebody stands at the edge of the zone."""
    chance = random.Random(seed)  # noqa: S311
    walks = [path(LEFT_TO_RIGHT), path([(0, 0.9, 0.5), (10, 0.72, 0.5), (18, 0.9, 0.5)])]

    def flickering(walk: Walk) -> Walk:
        def where(at_s: float) -> tuple[float, float] | None:
            foot = walk(at_s)
            if foot is None or (at_s > 0.3 and chance.random() < 0.2):
                return None
            return foot[0] + chance.gauss(0, 0.003), foot[1] + chance.gauss(0, 0.003)

        return where

    stages, events = seen([flickering(walk) for walk in walks], 22, fps)
    assert crossings(stages) == (0, 1)
    assert visits(stages) == (1, 1, 0)
    each_begin_has_one_end(events)


def test_a_detection_of_one_frame_never_counts() -> None:
    stages, events = seen([lambda at_s: (0.5, 0.7) if abs(at_s - 3) < 0.04 else None], 6, 10)
    assert (events, visits(stages), crossings(stages)) == ([], (0, 0, 0), (0, 0))


def test_a_camera_that_stops_inside_a_visit_ends_it() -> None:
    stages = analysis(RULES)
    frames = [each for each in clip([path(LEFT_TO_RIGHT)], 12, 10) if each[1] < START_MS + 5000]
    events = play(stages, frames)
    assert visits(stages) == (1, 0, 1)
    last_ms = frames[-1][1]
    ends = [event for second in range(1, 30) for event in stages.on_time(last_ms + second * 1000)]
    assert {(event.kind, event.phase) for event in ends} == {("zone", "end"), ("object", "end")}
    assert {event.ended_ms for event in ends} == {last_ms}
    assert visits(stages) == (1, 1, 0)
    each_begin_has_one_end(events + ends)


def test_a_worker_that_is_behind_ends_nothing() -> None:
    """A minute of old results: the time now is no reason to end what the next result continues."""
    stages = analysis(RULES)
    events = []
    for result, at_ms in clip([path([(0, 0.1, 0.7), (60, 0.9, 0.7)])], 60, 5):
        events += stages.on_result(result, at_ms)[1]
        events += stages.on_time(START_MS + 70_000)
    assert visits(stages) == (1, 1, 0)
    assert crossings(stages) == (0, 1)


def test_dwell_begins_after_its_time_and_ends_with_the_visit() -> None:
    _, events = seen([path([(0, 0.1, 0.7), (2, 0.45, 0.7), (12, 0.46, 0.7), (14, 0.9, 0.7)])], 16, 10)
    dwell = [event for event in events if event.kind is EventKind.DWELL]
    assert [event.phase for event in dwell] == [Phase.BEGIN, Phase.END]
    assert dwell[0].duration_s == pytest.approx(5, abs=0.2)
    (visit,) = (event for event in events if event.kind is EventKind.ZONE and event.phase is Phase.END)
    assert (dwell[1].ended_ms, dwell[1].duration_s) == (visit.ended_ms, visit.duration_s)
    short = seen([path(LEFT_TO_RIGHT)], 12, 10)[1]
    assert not [event for event in short if event.kind is EventKind.DWELL]


def test_many_walkers_are_all_counted() -> None:
    """Four people walk to and fro for a minute, each at a pace of their own."""
    chance, walks, expected = random.Random(7), [], Counter[str]()  # noqa: S311
    for row in range(4):
        at, points, side = chance.uniform(0, 3), [], chance.choice((0.1, 0.9))
        y = 0.4 + row * 0.17
        while at < 50:
            points += [(at, side, y)]
            at += chance.uniform(4, 9)
            side = 1.0 - side
            points += [(at, side, y)]
            expected["in" if side < 0.5 else "out"] += 1
            at += chance.uniform(1, 3)
        walks.append(path(points))
    stages, events = seen(walks, 70, 10)
    assert crossings(stages) == (expected["in"], expected["out"])
    assert visits(stages) == (expected.total(), expected.total(), 0)
    each_begin_has_one_end(events)
