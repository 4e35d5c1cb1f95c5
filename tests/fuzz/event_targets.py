"""Targets that read what the event service gets: entries of partitions, states of streams, events, sinks."""

from __future__ import annotations

import json
import ssl
from typing import Any

from hypothesis import strategies as st

from elastic_inference.adapters.event_store import read_entry
from elastic_inference.adapters.event_store.event_log import read_cursor, write_cursor
from elastic_inference.adapters.sinks.base import Item, LoginRefusedError
from elastic_inference.adapters.sinks.cloud_events import batch_body, binary_headers
from elastic_inference.adapters.sinks.tls import trust
from elastic_inference.domain import keys
from elastic_inference.domain.errors import InvalidCountsError, InvalidEventError
from elastic_inference.domain.events.camera_counts import counts_json, no_counts, parse_counts
from elastic_inference.domain.events.camera_watch import CameraReport, CameraWatch, Sight
from elastic_inference.domain.events.count_history import CountHistory
from elastic_inference.domain.events.counts import Counts
from elastic_inference.domain.events.event import EventKind, event_json, parse_event
from elastic_inference.domain.events.rules import CameraRules, Line, Zone
from elastic_inference.domain.result import result_json
from elastic_inference.domain.sink_spec import SINK_KINDS, SinkError, read_sink, rest_refusal, sink_document
from elastic_inference.flows.deliver.sinks_file import parse
from elastic_inference.flows.events.ordered_stream import OrderedStream
from tests.fuzz.target import Target
from tests.support.event_workers import example_event
from tests.support.results import make_result

_SECRET = "a-password-that-nobody-may-see"
_STREAM = "cam:people:inferred"
# Signed by an authority whose key was thrown away.
_AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBdDCCARmgAwIBAgIURLfE1eK5xRfu7PNPqbKeQVXWA5QwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAeFw0yNjExMjkwOTQ5NTZaFw0zNjExMjYwOTQ5NTZa
MA8xDTALBgNVBAMMBHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATbNTVp
UetThL+r+VV3PlaC21MOImaPH7wKz/EGzMYRmI+6wcQqirvSfBM+OpqnEp7CLYm+
2y15jHbWhA50Vxaso1MwUTAdBgNVHQ4EFgQUmj2Be4fUolUuK//LL+OJ13mRbygw
HwYDVR0jBBgwFoAUmj2Be4fUolUuK//LL+OJ13mRbygwDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNJADBGAiEAwz9JUvWEFgreFuWW41+qFSZTERXbw4OS1j/0
ZUcVgOQCIQCV52QJ+FDDerGcwmp7kjzHr0ZZaQ+XeD9XwYY3UF4u2A==
-----END CERTIFICATE-----
"""


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


_RULES = CameraRules((Zone(name="yard", points=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))),))


def _counts(data: bytes) -> None:
    saved = parse_counts(data)
    assert parse_counts(counts_json(saved)).minutes == saved.minutes
    history, counts = CountHistory("gate-1", saved), Counts()
    history.resume("people", counts)
    counts.zone("yard", "person").enter()
    for now_ms in (1_790_000_000_000.0, 1_790_000_060_000.0):
        history.sample(_RULES, [("people", counts)], now_ms, True)
    later = parse_counts(counts_json(history.document()))
    assert [zone.name for zone in later.zones] == ["yard"]


def _counts_seeds() -> list[bytes]:
    history, counts = CountHistory("gate-1"), Counts()
    counts.zone("yard", "person").enter()
    line = Line.model_validate({"name": "gate", "from": (0, 0), "to": (1, 1)})
    counts.line("gate", "person").inward += 1
    for now_ms in (1_789_999_000_000.0, 1_789_999_080_000.0):
        history.sample(CameraRules(_RULES.zones, (line,)), [("people", counts)], now_ms, True)
    return [counts_json(history.document()), counts_json(no_counts("gate-1"))]


def _cursor(data: bytes) -> None:
    position = read_cursor(data.decode("latin-1"))
    assert position is None or read_cursor(write_cursor(position)) == position


def _event(data: bytes) -> None:
    # Numbers are rounded when they are written.
    event = parse_event(event_json(parse_event(data)))
    assert parse_event(event_json(event)) == event
    spec = read_sink({"name": "night", "kind": "log", "quiet_hours": [{"from": "22:00", "to": "06:00"}]})
    spec.takes(event)
    document = event_json(event)
    item = Item(event, document)
    assert all(value.isprintable() and value.isascii() for value in binary_headers(item).values())
    json.dumps(json.loads(batch_body([item])), allow_nan=False)


def _event_seeds() -> list[bytes]:
    whole: dict[str, Any] = {
        "track": "gate-1:people:inferred/1-3",
        "zone": "yard",
        "zones": ("yard",),
        "box": (0.1, 0.2, 0.3, 0.4),
        "confidence": 0.9,
        "began_ms": 1_790_000_000_000.0,
        "at_ms": 1_790_000_012_400.0,
        "ended_ms": 1_790_000_012_400.0,
        "duration_s": 12.4,
    }
    return [example_event(), example_event(**whole, kind=EventKind.ZONE)]


def _event_inputs() -> st.SearchStrategy[bytes]:
    """Events with one field of any value, including values that JSON lacks and some readers accept."""
    seed: dict[str, Any] = json.loads(_event_seeds()[1])
    odd = st.sampled_from([1e300, -1e300, 2.5e14, 2.6e14, -1.0, float("inf"), float("nan"), 10**30, "\x7f", "é", "\n%"])
    values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | odd
    nested = values | st.lists(values, max_size=4)
    return st.tuples(st.sampled_from([*seed]), nested).map(lambda pair: json.dumps({**seed, pair[0]: pair[1]}).encode())


def _sinks(data: bytes) -> None:
    try:
        sinks = parse(data)
    except SinkError as error:
        assert _SECRET not in str(error) or f"once: {_SECRET} is" in str(error) or f"sink {_SECRET}, " in str(error)
        raise
    event = parse_event(example_event())
    for name, spec in sinks.items():
        assert spec.name == name
        assert read_sink(json.loads(json.dumps(sink_document(spec)))) == spec
        spec.takes(event)
        rest_refusal(spec)


def _sink_seeds() -> list[bytes]:
    return [
        f"sinks:\n- {{name: hook, kind: webhook, url: 'https://user:{_SECRET}@h/a'}}\n".encode(),
        b"sinks:\n- {name: hook, kind: webhook, url: 'https://h/{secret}', url_secret: hook.url, batch: 9}\n"
        b"- {name: home, kind: mqtt, url: 'mqtt://[::1]:1883', user: ei, password: home.password, zones: [yard]}\n",
        b"sinks:\n- name: guard\n  kind: kafka\n  brokers: ['a:9092']\n  quiet_hours: [{from: '07:00', to: '18:00'}]\n"
        b"- {name: r, kind: redis, url: 'redis://h:1/0', stream: s, maxlen: 5}\n- {name: l, kind: log}\n",
        f"sinks:\n- name: hook\n  kind: mqtt\n  url: mqtt://h\n  password: {_SECRET}\n".encode(),
    ]


def _sink_inputs() -> st.SearchStrategy[bytes]:
    """Sinks with the known fields and any values."""
    fields = sorted({field for kind in SINK_KINDS.values() for field in kind.model_fields} | {"zoom", "<<", "'a b'"})
    words = ["1", "-1", "on", "~", "1e400", "[a, b]", "{a: b}", f"'*{_SECRET}'", f"*{_SECRET}", f"!{_SECRET}", "'é'"]
    urls = ["https://h:99999/", "http://[", "mqtt://h", f"redis://:{_SECRET}@h", "https://{secret}/", "http://h/\u2028"]
    value = st.sampled_from([*words, *urls]) | st.text(alphabet='a01.-[]{}:,&*!|>"#\n ', max_size=20)
    lines = st.lists(st.tuples(st.sampled_from(fields), value), max_size=5)
    kind = st.sampled_from([*SINK_KINDS])
    return st.tuples(kind, lines).map(
        lambda made: "\n  ".join([f"sinks:\n- kind: {made[0]}", *(f"{k}: {v}" for k, v in made[1])]).encode()
    )


def _cameras(data: bytes) -> None:
    watch = CameraWatch(10.0, 0.0, data)
    saved = watch.state()
    assert CameraWatch(10.0, 0.0, saved).state() == saved
    for now_s in (20.0, 40.0):
        now_ms = 1_790_000_000_000.0 + 1000 * now_s
        sights = dict.fromkeys(watch.quiet({}, now_ms), Sight(CameraReport.SILENT, pods=True))
        for event in watch.look({"gate": now_ms}, sights, lambda _: None, now_ms, now_s):
            assert parse_event(event_json(event)).camera == event.camera


def _camera_seeds() -> list[bytes]:
    watch = CameraWatch(10.0, 0.0)
    watch.look({"gate": 1e6, "yard": 1e6}, {}, lambda name: name == "yard" or None, 1e6, 0.0)
    watch.look({"gate": 1e6}, {"gate": Sight(CameraReport.SILENT, pods=True)}, lambda _: None, 2e6, 1e6)
    return [watch.state(), b""]


def _authorities(data: bytes) -> None:
    found = trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), data.decode("latin-1"), "hook.ca")
    # Kafka's library gets the result: read once more, it must stay the same.
    assert trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), found, "hook.ca") == found


def _authority_seeds() -> list[bytes]:
    pem = _AUTHORITY.encode()
    return [pem, b"# an authority\n" + pem.replace(b"\n", b"\r\n"), pem[:200] + pem]


TARGETS = (
    Target("entries of partitions", _entry, (), _entry_seeds),
    Target("states of streams", _state, (), _state_seeds),
    Target("counters of cameras", _counts, (InvalidCountsError,), _counts_seeds),
    Target("positions in the log of events", _cursor, (), lambda: [b"1700000000000-0-15"]),
    Target("events", _event, (InvalidEventError,), _event_seeds, _event_inputs),
    Target("what is known of cameras", _cameras, (), _camera_seeds),
    Target("authorities of sinks", _authorities, (LoginRefusedError,), _authority_seeds),
    Target("files of sinks", _sinks, (SinkError,), _sink_seeds, _sink_inputs),
)
