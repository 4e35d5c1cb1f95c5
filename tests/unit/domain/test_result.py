"""Results: JSON, message, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.result import Detection, Result, join_message, parse_result, result_json, split_message

RESULT = Result(
    **{"stream": "gate-1:people:inferred", "type": "people", "model": "m", "precision": "INT8", "device": "CPU"},
    **{"order": 1790000000123456, "seq": 4711, "ts": 1790000000.123, "width": 1280, "height": 720, "pod": "p"},
    **{"age_ms": 8.0, "queue_ms": 3.1, "infer_ms": 12.4},
    detections=(Detection("persönlich", 1, 0.93, (0.11, 0.2, 0.31, 0.88)),),
)


def test_there_and_back() -> None:
    document, jpeg = split_message(join_message(result_json(RESULT), b"\xff\xd8picture"))
    assert parse_result(document) == RESULT
    assert isinstance(jpeg, memoryview)
    assert bytes(jpeg) == b"\xff\xd8picture"
    assert parse_result(result_json(replace(RESULT, seq=None, ts=None, detections=()))).seq is None


def test_json_is_as_documented() -> None:
    fields = json.loads(result_json(RESULT))
    assert fields["v"] == 1
    assert fields["detections"] == [
        {"label": "persönlich", "label_id": 1, "confidence": 0.93, "box": [0.11, 0.2, 0.31, 0.88]}
    ]
    assert b" " not in result_json(RESULT)


@pytest.mark.parametrize("message", [b"", b"\x00\x00", b"\x00\x00\x00\x05ab", b"\xff\xff\xff\xff" + bytes(10)])
def test_short_messages(message: bytes) -> None:
    with pytest.raises(InvalidResultError):
        split_message(message)


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{", b'{"v":2}', b'{"v":1}', result_json(RESULT).replace(b'"box":[0.11,', b'"box":['), b"[" * 99_999],
)
def test_wrong_documents(document: bytes) -> None:
    with pytest.raises(InvalidResultError):
        parse_result(document)
