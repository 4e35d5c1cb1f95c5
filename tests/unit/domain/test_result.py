"""Results: their JSON, their message, and what is refused."""

from __future__ import annotations

import json
from dataclasses import MISSING, replace
from dataclasses import fields as dataclass_fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.result import Detection, Result, parse_result, result_json
from elastic_inference.domain.result_message import MAX_RESULT_JSON_BYTES, join_message, split_message
from elastic_inference.domain.tracks import FrameTracks, TrackedObject

RESULT = Result(
    **{"stream": "gate-1:people:inferred", "type": "people", "model": "m", "precision": "INT8", "device": "CPU"},
    **{"order": 1790000000123456, "seq": 4711, "ts": 1790000000.123, "width": 1280, "height": 720, "pod": "p"},
    **{"age_ms": 8.0, "queue_ms": 3.1, "infer_ms": 12.4},
    detections=(Detection("persönlich", 1, 0.93, (0.11, 0.2, 0.31, 0.88)),),
)


def test_round_trip() -> None:
    document, jpeg = split_message(join_message(result_json(RESULT), b"\xff\xd8image"))
    assert parse_result(document) == RESULT
    assert isinstance(jpeg, memoryview)
    assert bytes(jpeg) == b"\xff\xd8image"
    assert parse_result(result_json(replace(RESULT, seq=None, ts=None, detections=()))).seq is None


def test_json_is_as_documented() -> None:
    fields = json.loads(result_json(RESULT))
    assert fields["v"] == 1
    assert fields["detections"] == [
        {"label": "persönlich", "label_id": 1, "confidence": 0.93, "box": [0.11, 0.2, 0.31, 0.88]}
    ]
    assert b" " not in result_json(RESULT)


@pytest.mark.parametrize("message", [b"", b"\x00\x00", b"\x00\x00\x00\x05ab", b"\xff\xff\xff\xff" + bytes(10)])
def test_truncated_messages_are_refused(message: bytes) -> None:
    with pytest.raises(InvalidResultError):
        split_message(message)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{",
        b'{"v":2}',
        b'{"v":1}',
        result_json(RESULT).replace(b'"box":[0.11000,', b'"box":['),
        b"[" * 99_999,
    ],
)
def test_wrong_documents_are_refused(document: bytes) -> None:
    with pytest.raises(InvalidResultError):
        parse_result(document)


def test_attributes_travel_from_encode_through_parse() -> None:
    track = {"track": {"id": 7, "since_s": 1.5}, "zones": ["gate", "belt"]}
    (found,) = RESULT.detections
    marked = replace(RESULT, detections=(replace(found, attributes=track),), attributes={"scene": "night", "lux": None})
    document = result_json(marked)
    assert parse_result(document) == marked
    fields = json.loads(document)
    assert fields["attributes"] == {"scene": "night", "lux": None}
    assert fields["detections"][0]["attributes"] == track


def test_unknown_attributes_are_kept_and_unknown_fields_ignored() -> None:
    fields = json.loads(result_json(RESULT))
    newer = {**fields, "attributes": {"unheard_of": [1, {"a": None}]}, "new_field": 1}
    newer["detections"] = [{**fields["detections"][0], "new_field": [1]}]
    assert parse_result(json.dumps(newer)) == replace(RESULT, attributes={"unheard_of": [1, {"a": None}]})


def test_empty_attributes_are_left_out_of_the_json() -> None:
    assert b"attributes" not in result_json(RESULT)


@pytest.mark.parametrize(
    "attributes",
    [
        *("track", ["track"], None, {"": 1}, {"n" * 65: 1}, {"big": "x" * 5000}),
        {str(number): number for number in range(33)},
    ],
)
def test_attributes_are_bounded(attributes: object) -> None:
    fields = json.loads(result_json(RESULT))
    for wrong in (
        {**fields, "attributes": attributes},
        {**fields, "detections": [{**fields["detections"][0], "attributes": attributes}]},
    ):
        with pytest.raises(InvalidResultError, match="attributes"):
            parse_result(json.dumps(wrong))


REQUIRED = [
    each.name
    for each in dataclass_fields(Result)
    if each.name == "v" or (each.default is MISSING and each.default_factory is MISSING)
]


@pytest.mark.parametrize("missing", REQUIRED)
def test_a_missing_field_is_named(missing: str) -> None:
    document = json.loads(result_json(RESULT))
    del document[missing]
    with pytest.raises(InvalidResultError, match="version 1" if missing == "v" else missing):
        parse_result(json.dumps(document))


def test_optional_fields_may_be_missing() -> None:
    document = json.loads(result_json(RESULT))
    assert parse_result(json.dumps({name: document[name] for name in REQUIRED})) == RESULT


NUMBERS = st.floats(0, 1)
ATTRIBUTES = st.dictionaries(
    st.text(min_size=1, max_size=9), st.none() | st.integers() | st.text(max_size=9), max_size=3
)
DETECTIONS = st.builds(
    Detection, st.text(max_size=9), st.integers(0, 99), NUMBERS, st.tuples(*[NUMBERS] * 4), attributes=ATTRIBUTES
)
TRACKS = st.builds(
    FrameTracks,
    st.integers(0, 1 << 53),
    st.builds(TrackedObject, st.integers(0, 99), st.text(max_size=9), st.tuples(st.text(max_size=9))).map(
        lambda one: (one,)
    ),
)
CHANGES = st.fixed_dictionaries(
    {
        **dict.fromkeys(("model", "precision", "device", "pod"), st.text(max_size=20)),
        **dict.fromkeys(("age_ms", "queue_ms", "infer_ms"), st.floats(0, 1e6)),
        **dict.fromkeys(("ts", "arrived_ms"), st.none() | st.floats(0, 1e13)),
        "seq": st.none() | st.integers(0, 1 << 53),
        "detections": st.lists(DETECTIONS, max_size=3).map(tuple),
        "attributes": ATTRIBUTES,
        "tracks": st.lists(TRACKS, max_size=2).map(tuple),
    }
)


def rounded(result: Result) -> Result:
    """What a reader gets of a result."""
    times = ("age_ms", "queue_ms", "infer_ms", "arrived_ms")
    detections = tuple(
        replace(each, confidence=round(each.confidence, 4), box=tuple(round(edge, 5) for edge in each.box))
        for each in result.detections
    )
    known = {name: round(value, 2) for name in times if (value := getattr(result, name)) is not None}
    return replace(result, detections=detections, **known)


@given(CHANGES)
def test_what_is_written_without_pydantic_is_what_pydantic_reads(changes: dict[str, Any]) -> None:
    result = replace(RESULT, **changes)
    assert parse_result(result_json(result)) == rounded(result)


def test_schema_and_json_have_the_fields_of_the_class() -> None:
    schema = TypeAdapter(Result).json_schema()
    assert list(schema["properties"]) == [each.name for each in dataclass_fields(Result)]
    absent = ("attributes", "tracks")
    assert list(json.loads(result_json(RESULT))) == [name for name in schema["properties"] if name not in absent]


@pytest.mark.parametrize("many", ["[" * 70_000, "{" * 70_000, "[]," * 70_000, "x" * MAX_RESULT_JSON_BYTES])
def test_json_that_would_take_much_memory_is_not_parsed(many: str) -> None:
    document = '{"v":1,"order":1,"attributes":{"a":[' + many
    for form in (document, document.encode()):
        with pytest.raises(InvalidResultError, match="at most"):
            parse_result(form)


def test_a_result_of_very_many_detections_is_read() -> None:
    many = replace(RESULT, detections=RESULT.detections[:1] * 5000)
    assert len(parse_result(result_json(many)).detections) == 5000
