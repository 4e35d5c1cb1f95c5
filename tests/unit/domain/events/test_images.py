"""Which frame becomes the image of an event, and what its revisions say of it."""

from __future__ import annotations

import pytest
from tests.support.results import make_result

from elastic_inference.domain.events.event import Event, EventKind, Phase
from elastic_inference.domain.events.images import ImageChoice, ImageRequest, ImageRule, StreamImages
from elastic_inference.domain.events.missing import SENTENCES, Missing
from elastic_inference.domain.result import Detection, Result

STREAM = "gate:people:inferred"
ID = f"{STREAM}/7-1-object-1"
SMALL, LARGE = (0.4, 0.4, 0.5, 0.5), (0.3, 0.3, 0.7, 0.7)


def event(phase: Phase, event_id: str = ID, track: str | None = "t", kind: EventKind = EventKind.OBJECT) -> Event:
    return Event(id=event_id, rev=1, kind=kind, phase=phase, camera="gate", track=track, began_ms=0.0, at_ms=0.0)


def result(order: int, box: tuple[float, float, float, float] = SMALL, track: str = "t", **more: float) -> Result:
    found = Detection("person", 1, more.get("confidence", 0.5), box, {"track": track})
    size = {"width": int(more.get("width", 640)), "height": int(more.get("height", 360))}
    return make_result(stream=STREAM, order=order, pod="pod-a", detections=(found,), **size)


def images(rule: ImageRule = ImageRule.LARGEST, base: str = "", state: bytes = b"") -> StreamImages:
    return StreamImages(STREAM, 7, ImageChoice(rule, base), state)


def orders(requests: list[ImageRequest]) -> list[int]:
    return [each.order for each in requests]


def test_a_begin_asks_the_pod_of_its_frame_and_says_where_the_image_will_be() -> None:
    ((begun,), (request,)) = images().on_result(result(5), [event(Phase.BEGIN)], 0.0)
    assert request == ImageRequest(f"{STREAM}/7-5", STREAM, 5, "pod-a", True)
    assert begun.snapshot == "/api/events/gate%3Apeople%3Ainferred%2F7-1-object-1/snapshot?image=7-5"
    assert (begun.snapshot_box, begun.snapshot_reason) == (SMALL, None)


def test_two_events_of_a_frame_share_its_image() -> None:
    two = [event(Phase.BEGIN), event(Phase.BEGIN, f"{STREAM}/7-1-zone.a-1", kind=EventKind.ZONE)]
    events, requests = images().on_result(result(5), two, 0.0)
    assert orders(requests) == [5]
    assert {str(each.snapshot).rpartition("?")[2] for each in events} == {"image=7-5"}


def test_a_much_larger_object_makes_a_better_image_but_not_at_once_and_not_a_little_larger_one() -> None:
    chosen = images()
    chosen.on_result(result(1), [event(Phase.BEGIN)], 0.0)
    chosen.learn(f"{STREAM}/7-1", None)
    assert chosen.on_result(result(2, LARGE), [], 500.0) == ([], [])
    assert chosen.on_result(result(3, (0.4, 0.4, 0.51, 0.5)), [], 2000.0) == ([], [])
    assert orders(chosen.on_result(result(4, LARGE), [], 2100.0)[1]) == [4]
    # Until it is kept, the former one stays.
    assert chosen.fill([event(Phase.UPDATE)])[0].snapshot_box == SMALL
    chosen.learn(f"{STREAM}/7-4", None)
    ended = chosen.fill([event(Phase.END)])[0]
    assert (str(ended.snapshot)[-9:], ended.snapshot_box) == ("image=7-4", LARGE)


def test_by_the_other_rule_confidence_decides() -> None:
    chosen = images(ImageRule.CONFIDENCE)
    chosen.on_result(result(1, LARGE), [event(Phase.BEGIN)], 0.0)
    assert orders(chosen.on_result(result(2, SMALL, confidence=0.9), [], 2000.0)[1]) == [2]


@pytest.mark.parametrize("rule", list(ImageRule))
def test_the_first_frame_of_full_size_replaces_a_reduced_one(rule: ImageRule) -> None:
    chosen = images(rule)
    full = {"width": 1920, "height": 1080}
    chosen.on_result(result(1), [event(Phase.BEGIN)], 0.0)
    assert orders(chosen.on_result(result(2, **full), [], 500.0)[1]) == []  # not at once
    smaller = result(3, (0.4, 0.4, 0.47, 0.47), confidence=0.3, **full)
    assert orders(chosen.on_result(smaller, [], 1100.0)[1]) == []
    assert orders(chosen.on_result(result(4, **full), [], 1200.0)[1]) == [4]
    # A reduced one must show the object better, and is then replaced too.
    assert orders(chosen.on_result(result(5), [], 3000.0)[1]) == []
    assert orders(chosen.on_result(result(6, LARGE, confidence=0.9), [], 3100.0)[1]) == [6]
    assert orders(chosen.on_result(result(7, LARGE, confidence=0.9, **full), [], 4200.0)[1]) == [7]


def test_what_is_missing_is_said_and_tried_again_later() -> None:
    chosen = images()
    chosen.on_result(result(1), [event(Phase.BEGIN)], 0.0)
    chosen.learn(f"{STREAM}/7-1", Missing.POD)
    told = chosen.fill([event(Phase.UPDATE)])[0]
    assert (told.snapshot, told.snapshot_box, told.snapshot_reason) == (None, None, SENTENCES[Missing.POD])
    assert chosen.on_result(result(2), [], 4000.0)[1] == []
    assert orders(chosen.on_result(result(3), [], 6000.0)[1]) == [3]


def test_a_better_image_that_is_missing_takes_nothing_away() -> None:
    chosen = images()
    chosen.on_result(result(1), [event(Phase.BEGIN)], 0.0)
    chosen.learn(f"{STREAM}/7-1", None)
    chosen.on_result(result(2, LARGE), [], 2000.0)
    chosen.learn(f"{STREAM}/7-2", Missing.LATE)
    assert chosen.fill([event(Phase.END)])[0].snapshot_box == SMALL


def test_a_crossing_of_an_object_that_is_no_longer_seen_has_the_last_image() -> None:
    chosen = images()
    chosen.on_result(result(1), [event(Phase.BEGIN)], 0.0)
    chosen.learn(f"{STREAM}/7-1", None)
    line = event(Phase.END, f"{STREAM}/7-9-line.a-1", kind=EventKind.LINE)
    ((crossed,), requests) = chosen.on_result(result(9, track="other"), [line], 900.0)
    assert (str(crossed.snapshot)[-9:], crossed.snapshot_box, requests) == ("image=7-1", SMALL, [])


def test_an_event_of_the_camera_has_neither_image_nor_reason() -> None:
    ((told,), requests) = images().on_result(result(1), [event(Phase.BEGIN, track=None)], 0.0)
    assert (told.snapshot, told.snapshot_reason, requests) == (None, None, [])


def test_a_result_without_the_name_of_a_pod_asks_nobody() -> None:
    odd = make_result(stream=STREAM, pod="a b\r\n", detections=result(1).detections)
    ((begun,), requests) = images().on_result(odd, [event(Phase.BEGIN)], 0.0)
    assert (begun.snapshot, begun.snapshot_reason, requests) == (None, SENTENCES[Missing.POD], [])


def test_the_next_worker_knows_the_images_of_open_events() -> None:
    chosen = images()
    chosen.on_result(result(1), [event(Phase.BEGIN)], 0.0)
    chosen.learn(f"{STREAM}/7-1", None)
    following = images(base="https://a.example", state=chosen.state())
    ended = following.fill([event(Phase.END)])[0]
    assert str(ended.snapshot).startswith("https://a.example/api/events/gate")
    assert (str(ended.snapshot)[-9:], ended.snapshot_box) == ("image=7-1", SMALL)


@pytest.mark.parametrize(
    "state", [b"\xc1", b"\x90", b"\x81\xa1a\x01", b"\x81\xa1a\x93\xa1t\x92\xa1x\x94\x01\x02\x03\x04\x00"]
)
def test_a_state_that_is_not_ours_starts_anew(state: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert images(state=state).state() == b"\x80"
    assert "start without images" in caplog.text


def test_what_has_ended_is_forgotten() -> None:
    chosen = images()
    chosen.on_result(result(1), [event(Phase.BEGIN)], 0.0)
    chosen.fill([event(Phase.END)])
    assert chosen.state() == b"\x80"
