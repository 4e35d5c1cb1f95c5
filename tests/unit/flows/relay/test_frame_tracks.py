"""Tracks meet their frame: in time, late, or never; no frame waits for a service that is late or silent."""

from __future__ import annotations

import json

from tests.support.jpeg import tiny_jpeg
from tests.support.results import make_result

from elastic_inference.domain.result import parse_result, result_json
from elastic_inference.domain.result_message import join_message, split_message
from elastic_inference.domain.tracks import FrameTracks, TrackedObject
from elastic_inference.flows.relay.frame_tracks import HOLD_S, FrameTracksJoin
from elastic_inference.flows.relay.outgoing import Incoming, read_incoming

STREAM = "cam:people:inferred"


def frame(order: int) -> Incoming:
    return read_incoming(join_message(result_json(make_result(order=order)), tiny_jpeg()))


def tracks(order: int) -> FrameTracks:
    return FrameTracks(order, (TrackedObject(0, f"{STREAM}/1-{order}", ("yard",)),))


def test_without_an_event_service_no_frame_waits_and_none_is_changed() -> None:
    join = FrameTracksJoin()
    assert join.wait_until_s(1, 100.0) is None
    one = frame(1)
    assert join.join(one) is one


def test_a_frame_waits_for_its_tracks_and_carries_them() -> None:
    join = FrameTracksJoin()
    join.receive([tracks(1)], 10.0)
    assert join.wait_until_s(2, 10.1) == 10.1 + HOLD_S
    join.receive([tracks(2)], 10.11)
    assert join.has(2)
    joined = join.join(frame(2))
    result = parse_result(joined.document)
    assert result.tracks == (tracks(1), tracks(2)), "the late ones come with the next frame"
    assert split_message(joined.message) == (joined.document, memoryview(tiny_jpeg()))
    assert json.loads(joined.document)["tracks"][1] == {
        "order": 2,
        "objects": [{"index": 0, "track": "cam:people:inferred/1-2", "zones": ["yard"]}],
    }
    assert parse_result(join.join(frame(3)).document).tracks == ()


def test_tracks_that_are_there_first_hold_up_nothing() -> None:
    join = FrameTracksJoin()
    join.receive([tracks(5)], 10.0)
    assert join.wait_until_s(5, 10.001) is None
    assert parse_result(join.join(frame(4)).document).tracks == (), "not before their frame"
    assert parse_result(join.join(frame(5)).document).tracks == (tracks(5),)


def test_a_service_that_is_late_holds_up_nothing_until_it_is_in_time_again() -> None:
    join = FrameTracksJoin()
    join.receive([tracks(1)], 10.0)
    assert join.wait_until_s(2, 10.1) is not None
    join.receive([tracks(2)], 10.1 + 2 * HOLD_S)
    assert join.wait_until_s(3, 10.4) is None
    join.receive([tracks(3)], 10.41)
    assert join.wait_until_s(4, 10.5) is not None


def test_a_service_that_has_ended_holds_up_nothing() -> None:
    join = FrameTracksJoin()
    join.receive([tracks(1)], 10.0)
    assert join.wait_until_s(2, 31.0) is None


def test_it_remembers_a_bounded_number() -> None:
    join = FrameTracksJoin()
    join.receive([tracks(order) for order in range(1000)], 10.0)
    for order in range(2000, 3000):
        join.wait_until_s(order, 10.0)
    assert [each.order for each in parse_result(join.join(frame(5000)).document).tracks] == list(range(984, 1000))
