"""Events: their JSON, and what is refused."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from elastic_inference.domain.errors import InvalidEventError
from elastic_inference.domain.events.event import Direction, Event, EventKind, Phase, event_json, parse_event

STREAM = "gate-1:people:inferred"
EVENT = Event(
    **{"id": f"{STREAM}/3-17-line.door-4", "rev": 1, "kind": EventKind.LINE, "phase": Phase.END, "camera": "gate-1"},
    **{"stream": STREAM, "type": "people", "label": "person", "track": f"{STREAM}/3-4", "zone": "door"},
    **{"direction": Direction.IN, "confidence": 0.91, "top_confidence": 0.97, "box": (0.1, 0.2, 0.3, 0.4)},
    **{"zones": ("hall",), "began_ms": 1000.25, "at_ms": 1000.25, "ended_ms": 1000.25},
)


def test_round_trip() -> None:
    assert parse_event(event_json(EVENT)) == EVENT
    assert set(json.loads(event_json(EVENT))) == {each.name for each in fields(Event)}


def test_readers_ignore_unknown_fields() -> None:
    later = {**json.loads(event_json(EVENT)), "weather": "rain"}
    assert parse_event(json.dumps(later)) == EVENT


@pytest.mark.parametrize(
    "document", [b"", b"[]", b'{"v":1}', event_json(EVENT).replace(b'"v":1', b'"v":2'), b" " * 99_999]
)
def test_wrong_documents_are_refused(document: bytes) -> None:
    with pytest.raises(InvalidEventError):
        parse_event(document)
