"""Targets that read messages: frames, results, tombstones, tracks, and the requests of viewers."""

from __future__ import annotations

import json
from typing import Any

import msgpack
from hypothesis import strategies as st

from elastic_inference.adapters.stream_broker.tombstones import parse_tombstones, tombstones_message
from elastic_inference.adapters.stream_broker.tracks import parse_tracks, tracks_message
from elastic_inference.domain import keys
from elastic_inference.domain.errors import InvalidFrameError, InvalidResultError
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_frame, unpack_frame
from elastic_inference.domain.result import parse_result, result_json
from elastic_inference.domain.result_message import join_message, split_message
from elastic_inference.domain.sequence import Sequence, Tombstone
from elastic_inference.domain.tracks import FrameTracks, TrackedObject
from elastic_inference.flows.relay.frame_tracks import FrameTracksJoin
from elastic_inference.flows.relay.outgoing import Incoming, read_incoming
from elastic_inference.flows.relay.request import BadRequestError, parse_target, snapshot_stream
from tests.fuzz.image_targets import jpegs
from tests.fuzz.target import Target
from tests.support.jpeg import tiny_jpeg
from tests.support.results import make_result

TYPE = "people"
MAX_BYTES = 64 * 1024
STREAM = "gate-1:people:inferred"


def _frame(data: bytes) -> None:
    frame = unpack_frame(data, TYPE, max_bytes=MAX_BYTES, max_pixels=1 << 20)
    assert keys.is_name(frame.name)
    assert frame.category == TYPE
    assert 1 <= frame.width * frame.height <= 1 << 20
    assert 0 <= frame.age_ms <= 3_600_000
    assert frame.seq is None or 0 <= frame.seq < 2**63
    json.dumps([frame.ts, frame.age_ms], allow_nan=False)
    assert unpack_frame(pack_frame(frame), TYPE, max_pixels=1 << 20) == frame


def _frame_seeds() -> list[bytes]:
    image = tiny_jpeg()
    legacy = {"name": "gate-1", "category": TYPE, "data": image}
    fair = pack_frame(Frame("gate-1", TYPE, image, 7, 1_790_000_000.5, 8.0, 64, 48))
    return [msgpack.packb(legacy), fair, *(msgpack.packb({**legacy, "data": each}) for each in jpegs()[1:3])]


def _frame_inputs() -> st.SearchStrategy[bytes]:
    """Maps with the right keys and any values, including some that only other languages' msgpack makes."""
    scalars = st.one_of(
        *(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=140)),
        *(st.binary(max_size=60), st.sampled_from([tiny_jpeg(), TYPE, "gate-1", 1, 2])),
        st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=12)),
        st.builds(msgpack.Timestamp, st.integers(-(2**33), 2**33), st.integers(0, 999_999_999)),
    )
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars_as_keys(), inner, max_size=4)
    )
    good = {"name": "gate-1", "category": TYPE, "data": tiny_jpeg()}
    names = ["name", "category", "data", "seq", "ts", "age_ms", "width", "height", "v", "more"]
    maps = st.dictionaries(st.sampled_from(names), values, max_size=6).map(lambda changes: {**good, **changes})
    return maps.map(_packed)


def scalars_as_keys() -> st.SearchStrategy[Any]:
    """Keys of a msgpack map."""
    return st.one_of(st.text(max_size=8), st.binary(max_size=8), st.integers(-5, 5), st.none())


def _packed(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _result(data: bytes) -> None:
    document, _ = split_message(data)
    again = result_json(parse_result(document))
    assert result_json(parse_result(again)) == again


def _relayed(data: bytes) -> None:
    incoming = read_incoming(data)
    incoming.document.decode()  # it goes into a text message
    sequence: Sequence[Incoming] = Sequence(0.1)
    for at_s in (0.0, 0.01, 20.0):
        sequence.push(incoming.order, incoming, at_s, len(data), incoming.identity)
    sequence.expire(40.0)


def _result_seeds() -> list[bytes]:
    documents = [result_json(make_result()), b'{"v":1,"order":1}']
    documents.append(json.dumps(json.loads(documents[0]), indent=1).encode())
    return [join_message(document, tiny_jpeg()) for document in documents]


def _result_inputs() -> st.SearchStrategy[bytes]:
    good = json.loads(result_json(make_result()))
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.just("Infinity"))
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=80), inner, max_size=4)
    )
    maps = st.dictionaries(st.sampled_from([*good, "attributes", "arrived_ms", "more"]), values, max_size=4)
    jpeg = tiny_jpeg()
    return maps.map(lambda changes: join_message(json.dumps({**good, **changes}).encode(), jpeg))


def _tombstones(data: bytes) -> None:
    sequence: Sequence[bytes] = Sequence(0.1)
    sequence.push(1, b"", 0.0, 1)
    for each in parse_tombstones(STREAM, data):
        sequence.skip(each.order, 0.1)


def _tombstone_seeds() -> list[bytes]:
    return [tombstones_message([Tombstone(STREAM, 2, "stale"), Tombstone(STREAM, 3, "invalid")]), b'{"v":2}']


def _tracks(data: bytes) -> None:
    found = parse_tracks(STREAM, data)
    join = FrameTracksJoin()
    join.receive(found, 1.0)
    document = result_json(make_result(order=2**62))
    joined = join.join(Incoming(join_message(document, tiny_jpeg()), document, 2**62, None))
    parsed = parse_result(split_message(joined.message)[0])
    assert set(parsed.tracks) <= set(found)
    assert split_message(joined.message)[0] == joined.document
    joined.document.decode()


def _tracks_seeds() -> list[bytes]:
    objects = (TrackedObject(0, f"{STREAM}/1-2", ("yard",)), TrackedObject(1, f"{STREAM}/1-3"))
    return [tracks_message(STREAM, [FrameTracks(5, objects), FrameTracks(6, ())]), b'{"v":2}']


def _tracks_inputs() -> st.SearchStrategy[bytes]:
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(-2, 2**64), st.sampled_from(["1-2", "yard", "\ud800", "0-"])
    )
    rows = st.lists(st.one_of(leaves, st.lists(leaves, max_size=3)), max_size=4)
    frames = st.lists(st.tuples(leaves, st.lists(rows, max_size=4)), max_size=4)
    return frames.map(lambda value: json.dumps({"v": 1, "tracks": value}).encode())


def _request(data: bytes) -> None:
    target = data.decode("latin-1")
    snapshot_stream(target)
    keys.clean_name(target)
    keys.split_stream_id(target)
    parse_target(target)


def _request_seeds() -> list[bytes]:
    return [f"/{STREAM}?format=json".encode(), b"/a%3Ab%3Ainferred/snapshot.jpg?format=frame&x=%ff"]


TARGETS = (
    Target("frame messages", _frame, (InvalidFrameError,), _frame_seeds, _frame_inputs),
    Target("result messages", _result, (InvalidResultError,), _result_seeds, _result_inputs),
    Target("results in the relay", _relayed, (InvalidResultError,), _result_seeds, _result_inputs),
    Target("tombstones", _tombstones, (InvalidResultError,), _tombstone_seeds),
    Target("tracks of the live view", _tracks, (InvalidResultError,), _tracks_seeds, _tracks_inputs),
    Target("viewers' requests", _request, (BadRequestError,), _request_seeds),
)
