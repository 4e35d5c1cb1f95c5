"""Incoming messages are checked; websocket frames read back as what went in, by the library's own parser."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.result import join_message
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


@pytest.mark.parametrize(
    "message",
    [
        b"",
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
    ],
)
def test_refuses_what_it_cannot_relay(message: bytes) -> None:
    with pytest.raises(InvalidResultError):
        read_incoming(message)


@given(st.binary(max_size=400))
def test_never_another_error(message: bytes) -> None:
    with contextlib.suppress(InvalidResultError):
        read_incoming(message)
