"""All stages of a stream: pairs of begin and end, restoring, clocks that jump, rules that change, hostile states."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.clips import START_MS, STREAM, analysis, camera_rules, clip, frame, path, person, play
from tests.unit.domain.events.test_counting import HALL, LEFT_TO_RIGHT, RULES, each_begin_has_one_end

from elastic_inference.domain.events.analysis import StreamAnalysis
from elastic_inference.domain.events.event import Event, event_json, parse_event
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.result import Result, parse_result, result_json

GIVEN = camera_rules(RULES)
_feet = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.2, 0.28, 0.35, 0.45, 0.49, 0.52, 0.6, 0.69, 0.71, 0.9]) | st.floats(0, 1),
        st.sampled_from([0.5, 0.7]),
        st.sampled_from([0.3, 0.6, 0.97]),
    ),
    max_size=4,
)
_steps = st.sampled_from([-3_600_000.0, -500.0, 0.0, 40.0, 200.0, 480.0, 2500.0, 30_000.0])
_clips = st.lists(st.tuples(_feet, _steps), min_size=1, max_size=40)


def _frames(drawn: list[tuple[list[tuple[float, float, float]], float]]) -> list[tuple[Result, float]]:
    at_ms, found = START_MS, []
    for n, (feet, step_ms) in enumerate(drawn):
        at_ms += step_ms
        found.append((frame(n + 1, [person((x, y), confidence) for x, y, confidence in feet]), at_ms))
    return found


@given(_clips)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_each_begin_has_one_end(drawn: Any) -> None:
    stages, frames = analysis(GIVEN), _frames(drawn)
    events = play(stages, frames)
    events += [event for second in range(13) for event in stages.on_time(frames[-1][1] + second * 1000)]
    each_begin_has_one_end(events)
    assert all(each.present == 0 for each in stages.counts().zones.get("hall", {}).values())
    assert all(parse_event(event_json(event)).id == event.id for event in events)
    assert stages.on_end(START_MS) == []


@given(_clips, st.data())
@settings(max_examples=150, deadline=None)
def test_a_worker_that_takes_over_makes_the_same_events(drawn: Any, data: st.DataObject) -> None:
    frames = _frames(drawn)
    cut = data.draw(st.integers(0, len(frames)))
    whole, first = analysis(GIVEN), analysis(GIVEN)
    expected = play(whole, frames)
    events = play(first, frames[:cut])
    second = analysis(GIVEN, state=first.state())
    assert second.state() == first.state()
    # The former worker goes on for a while, but its work is never committed: it is made again, and is the same.
    again = play(first, frames[cut:])
    assert play(second, frames[cut:]) == again
    assert events + again == expected
    assert second.state() == whole.state()


def test_ids_are_not_used_again_in_another_epoch() -> None:
    frames = list(clip([path(LEFT_TO_RIGHT)], 12))
    first = analysis(GIVEN, epoch=1)
    events = play(first, frames[:40])
    taken_over = analysis(GIVEN, epoch=2, state=first.state())
    events += play(taken_over, frames[40:])
    each_begin_has_one_end(events + taken_over.on_end(START_MS))
    assert {event.track for event in events} == {f"{STREAM}/1-1"}
    lost = analysis(GIVEN, epoch=3)
    assert not {event.id for event in play(lost, frames)} & {event.id for event in events}


def test_results_carry_tracks_and_zones() -> None:
    stages = analysis(GIVEN)
    results = [stages.on_result(*each)[0] for each in clip([path(LEFT_TO_RIGHT)], 4)]
    assert results[0].detections[0].attributes == {}
    inside = results[-1].detections[0].attributes
    assert inside == {"track": f"{STREAM}/1-1", "zones": ["hall"]}
    assert results[-1].attributes == {"zones": {"hall": 1}}
    assert parse_result(result_json(results[-1])).attributes == {"zones": {"hall": 1}}


def test_the_longest_names_fit_into_the_attributes_of_a_result() -> None:
    zones = [{**HALL, "name": f"z{n}".ljust(64, "x"), "points": [[0, 0], [1, 0], [1, 1], [0, 1]]} for n in range(32)]
    stream = f"{'c' * 128}:{'t' * 128}:inferred"
    stages = StreamAnalysis(stream, 123456, camera_rules({"zones": zones}))
    for result, at_ms in clip([path(LEFT_TO_RIGHT)], 2):
        enriched, events = stages.on_result(result, at_ms)
        read = parse_result(result_json(enriched))
        assert read.detections[0].attributes == enriched.detections[0].attributes
        assert all(parse_event(event_json(event)).zones == event.zones for event in events)
    assert len(enriched.detections[0].attributes["zones"]) == 32  # type: ignore[arg-type]


def test_labels_limit_a_rule() -> None:
    rules = {"zones": [{**HALL, "labels": ["car"]}], "lines": [{**RULES["lines"][0], "labels": ["car"]}]}  # type: ignore[dict-item]
    events = play(analysis(rules), clip([path(LEFT_TO_RIGHT)], 9))
    assert {event.kind for event in events} == {"object"}


@pytest.mark.parametrize("jump_ms", [-3_600_000.0, 3_600_000.0, -86_400_000.0])
def test_a_clock_that_jumps_leaves_nothing_open(jump_ms: float) -> None:
    stages = analysis(GIVEN)
    frames = [
        (result, at_ms + (jump_ms if result.order > 45 else 0.0)) for result, at_ms in clip([path(LEFT_TO_RIGHT)], 12)
    ]
    events = play(stages, frames)
    last_ms = frames[-1][1]
    events += [event for second in range(13) for event in stages.on_time(last_ms + second * 1000)]
    each_begin_has_one_end(events)
    if jump_ms < 0:
        assert [(c.entered, c.left) for c in stages.counts().zones["hall"].values()] == [(1, 1)]


def test_other_rules_end_what_no_longer_exists() -> None:
    stages = analysis(GIVEN)
    frames = list(clip([path(LEFT_TO_RIGHT)], 12))
    events = play(stages, frames[:45])
    ends = stages.set_rules(camera_rules({"lines": RULES["lines"]}), START_MS + 4500)
    assert [(event.kind, event.phase, event.zone) for event in ends] == [("zone", "end", "hall")]
    assert stages.set_rules(CameraRules(), START_MS + 4500) == []
    assert (stages.counts().zones, stages.counts().lines) == ({}, {})
    each_begin_has_one_end(events + ends + play(stages, frames[45:]) + stages.on_end(START_MS))


def test_rules_that_changed_while_no_worker_ran_end_what_no_longer_exists() -> None:
    first = analysis(GIVEN)
    frames = list(clip([path(LEFT_TO_RIGHT)], 12))
    events = play(first, frames[:45])
    later = analysis(CameraRules(), state=first.state())
    events += play(later, frames[45:]) + later.on_end(START_MS)
    each_begin_has_one_end(events)


@pytest.mark.parametrize(
    "state", [b"x", msgpack.packb([2]), msgpack.packb([99, 1, 2, 3, 4]), msgpack.packb([1, 2, 3, 4, 5]), b"\xc1" * 9]
)
def test_a_state_that_cannot_be_read_starts_anew(state: bytes, caplog: pytest.LogCaptureFixture) -> None:
    stages = analysis(GIVEN, state=state)
    assert "start over" in caplog.text
    expected = play(analysis(GIVEN), clip([path(LEFT_TO_RIGHT)], 9))
    assert play(stages, clip([path(LEFT_TO_RIGHT)], 9)) == expected


def test_a_class_of_the_whole_frame_is_no_object() -> None:
    whole = person((0.5, 0.5))
    whole = type(whole)("indoors", 1, 0.99, (0.0, 0.0, 1.0, 1.0))
    events: list[Event] = play(analysis(GIVEN), [(frame(n, [whole]), START_MS + n * 100) for n in range(1, 30)])
    assert events == []
