"""Incoming messages are checked; the library reads our websocket frames back unchanged."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.results import PERSON, make_result
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.result import result_json
from elastic_inference.domain.result_message import join_message
from elastic_inference.flows.relay.outgoing import binary_frame, read_incoming, text_frame

JPEG = b"\xff\xd8\xff\xd9"
GOOD = {"v": 1, "order": 7}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_frames_read_back(size: int) -> None:
    for build, opcode in ((binary_frame, Opcode.BINARY), (text_frame, Opcode.TEXT)):
        protocol = Protocol(CLIENT, max_size=None)
        protocol.receive_data(build(b"a" * size))
        (frame,) = protocol.events_received()
        assert (frame.opcode, frame.fin, bytes(frame.data)) == (opcode, True, b"a" * size)  # type: ignore[union-attr]


def test_reads_order_and_document() -> None:
    document = json.dumps({**GOOD, "label": "行人"}).encode()
    incoming = read_incoming(join_message(document, JPEG))
    assert (incoming.order, incoming.document) == (7, document)


def test_order_of_our_own_json_is_read_without_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda _text: pytest.fail("the whole JSON was parsed"))
    made = make_result(order=1790000000123456, seq=4711, ts=1.5, detections=(PERSON,) * 50)
    incoming = read_incoming(join_message(result_json(made), JPEG))
    assert (incoming.order, incoming.document) == (1790000000123456, result_json(made))
    again = read_incoming(join_message(result_json(dataclasses.replace(made, infer_ms=9.0)), JPEG))
    assert incoming.identity == again.identity
    for other in ({"seq": 4712}, {"ts": 1.6}, {"seq": None}, {"ts": None}):
        changed = read_incoming(join_message(result_json(dataclasses.replace(made, **other)), JPEG))
        assert changed.identity not in (None, incoming.identity)
    legacy = read_incoming(join_message(result_json(dataclasses.replace(made, seq=None, ts=None)), JPEG))
    assert legacy.identity is None


@given(st.text(max_size=40), st.text(max_size=40), st.integers(0, 2**63))
def test_nothing_in_a_json_string_is_taken_for_the_order(model: str, device: str, order: int) -> None:
    document = result_json(make_result(model=model + ',"order":5,"seq":1', device=device, order=order))
    assert read_incoming(join_message(document, JPEG)).order == order


@pytest.mark.parametrize(
    "document",
    [
        b'{"v":1,"stream":"a","order":7}',
        b'{"v":1,"stream":"a","order": 7,"seq":1,"ts":1,"width":1}',
        b'{"v":1,"stream":"a","more":{"a":1,"order":5,"seq":1,"ts":1,"width":1},"order":7,"seq":1,"ts":1,"width":1}',
        b'{"v":1,"stream":"' + b"a" * 5000 + b'","order":7,"seq":1,"ts":1,"width":1}',
        b'{"order":7,"v":1}',
        b'{"v":1,"stream":"{","order":7,"seq":1,"ts":1,"width":1} ',
    ],
)
def test_other_writers_json_is_parsed(document: bytes) -> None:
    assert read_incoming(join_message(document, JPEG)).order == 7


@pytest.mark.parametrize(
    "message",
    [
        b"",
        join_message(b'{"v":1,"stream":"\xff","order":7,"seq":1,"ts":1,"width":1}', JPEG),
        join_message(b'{"v":1,"stream":"a","order":-x,"seq":1,"ts":1,"width":1}', JPEG),
        join_message(b'{"v":1,"stream":"a","order":7,"seq":1,"ts":1,"width":1', JPEG),
        b"\x00\x00\x00\x09{}",
        b"\xff\xff\xff\xff{}",
        join_message(b"not json", JPEG),
        join_message(b"\xff\xfe", JPEG),
        join_message(json.dumps(GOOD).encode("utf-16"), JPEG),
        join_message(b"[1]", JPEG),
        join_message(json.dumps({**GOOD, "v": 2}).encode(), JPEG),
        join_message(json.dumps({**GOOD, "order": "7"}).encode(), JPEG),
        join_message(json.dumps({**GOOD, "order": True}).encode(), JPEG),
        join_message(json.dumps({"v": 1}).encode(), JPEG),
        join_message(json.dumps(GOOD).encode(), b""),
        join_message(json.dumps(GOOD).encode(), b"GIF89a"),
        join_message(b"[" * 100_000, JPEG),
        join_message(b'{"v":1,"order":1,"a":[' + b"[]," * 70_000 + b"1]}", JPEG),
    ],
)
def test_refuses_what_it_cannot_relay(message: bytes) -> None:
    with pytest.raises(InvalidResultError):
        read_incoming(message)


@given(st.binary(max_size=400))
def test_never_another_error(message: bytes) -> None:
    with contextlib.suppress(InvalidResultError):
        read_incoming(message)
