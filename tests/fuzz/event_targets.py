"""Targets that read what the event service gets from Redis: entries of the partitions, states of streams."""

from __future__ import annotations

import json

from elastic_inference.adapters.event_store import read_entry
from elastic_inference.adapters.event_store.event_log import read_cursor, write_cursor
from elastic_inference.domain import keys
from elastic_inference.domain.events.rules import CameraRules
from elastic_inference.domain.result import result_json
from elastic_inference.flows.events.ordered_stream import OrderedStream
from tests.fuzz.target import Target
from tests.support.results import make_result

_STREAM = "cam:people:inferred"


def _entry(data: bytes) -> None:
    for field in (b"json", b"gone", data[:8]):
        found = read_entry([b"5-1", [field, data]])
        assert found is not None
        if found.item is not None:
            assert keys.split_stream_id(found.item.stream) is not None
            assert found.item.order >= 0
    read_entry([data, [b"json", b"{}"]])


def _entry_seeds() -> list[bytes]:
    gone = json.dumps({"stream": _STREAM, "order": 3, "reason": "stale"}).encode()
    return [result_json(make_result()), gone, b"1-1"]


def _state(data: bytes) -> None:
    stream = OrderedStream.restored(_STREAM, 5, 0.5, CameraRules(), now_s=100.0, saved=data)
    stream.push((10_000, 1), make_result(), 100.0, again=False)
    stream.on_time(20_000.0, 1e9)
    OrderedStream.restored(_STREAM, 6, 0.5, CameraRules(), now_s=100.0, saved=stream.state())


def _state_seeds() -> list[bytes]:
    stream = OrderedStream(_STREAM, 5, 0.5, CameraRules())
    for order in range(1, 6):
        stream.push((10_000 + 100 * order, 1), make_result(order=order), float(order), again=False)
        stream.expire(float(order) + 1)
    return [stream.state(), b""]


def _cursor(data: bytes) -> None:
    place = read_cursor(data.decode("latin-1"))
    assert place is None or read_cursor(write_cursor(place)) == place


TARGETS = (
    Target("event-entry", _entry, (), _entry_seeds),
    Target("event-state", _state, (), _state_seeds),
    Target("event-cursor", _cursor, (), lambda: [b"1700000000000-0-15"]),
)
