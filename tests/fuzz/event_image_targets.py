"""Targets that read what the images of events bring: saved images of streams, requests for frames, answers of pods."""

from __future__ import annotations

from elastic_inference.adapters.event_store.image_store import read_answer
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequest, is_image, read_request, write_request
from elastic_inference.domain.events.event import Event, EventKind, Phase, event_json, parse_event
from elastic_inference.domain.events.images import ImageChoice, StreamImages
from elastic_inference.domain.result import Detection, Result
from tests.fuzz.target import Target
from tests.support.results import make_result

_STREAM = "cam:people:inferred"


def _images() -> StreamImages:
    images = StreamImages(_STREAM, 5, ImageChoice())
    images.on_result(_tracked(), [_event(Phase.BEGIN)], 0.0)
    return images


def _tracked() -> Result:
    return make_result(stream=_STREAM, detections=(Detection("person", 1, 0.9, (0.1, 0.1, 0.4, 0.9), {"track": "t"}),))


def _event(phase: Phase) -> Event:
    return Event(id="e", rev=1, kind=EventKind.OBJECT, phase=phase, camera="cam", track="t", began_ms=0.0, at_ms=0.0)


def _image_state(data: bytes) -> None:
    images = StreamImages(_STREAM, 5, ImageChoice(), data)
    images.learn(f"{_STREAM}/5-1", None)
    images.on_result(_tracked(), [], 2000.0)
    for event in images.fill([_event(Phase.UPDATE), _event(Phase.END)]):
        parse_event(event_json(event))
    StreamImages(_STREAM, 6, ImageChoice(), images.state())


def _frame_request(data: bytes) -> None:
    found = read_request(data)
    assert found is None or read_request(write_request(found).encode()) == found
    answer = read_answer(data)
    assert answer is None or is_image(answer[0])


def _frame_request_seeds() -> list[bytes]:
    image = f"{_STREAM}/5-1"
    return [write_request(FrameRequest(1, _STREAM, image, "worker-1")).encode(), f"{image} kept".encode(), b"a late"]


TARGETS = (
    Target("images of streams", _image_state, (), lambda: [_images().state(), b"\x80"]),
    Target("requests for frames", _frame_request, (), _frame_request_seeds),
)
