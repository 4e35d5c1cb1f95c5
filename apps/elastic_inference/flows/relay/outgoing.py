"""Parses results as they arrive, and builds websocket frames from them. Pure.

Called by `watched_stream`. A websocket frame is built once for all viewers of a format, since servers do not mask
(RFC 6455, section 5.2): header and payload are one bytes object that is written to every viewer's socket.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Hashable
from dataclasses import dataclass

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.result_message import RESULT_VERSION, check_size, split_message

_FINAL_TEXT = 0x81
_FINAL_BINARY = 0x82
# The text around `order` in the JSON of `domain.result`, and how far from the start to search for it.
_PREFIX = b'{"v":%d,"stream":"' % RESULT_VERSION
_PREFIX_BYTES = 4096
_ORDER = b',"order":'
_SEQ = b',"seq":'
_WIDTH = b',"width":'
_NO_IDENTITY = b',"seq":null,"ts":null'
_NUMBER_BYTES = 32


@dataclass(frozen=True, slots=True)
class Incoming:
    """One result message from the broker, with its JSON and its `order`.

    `identity` distinguishes frames with the same `order`: the producer's `seq` and `ts`; None if it sent neither.
    """

    message: bytes
    document: bytes
    order: int
    identity: Hashable


def read_incoming(message: bytes) -> Incoming:
    """Checks what the relay relies on: two parts, version 1, an integer `order`, a JPEG. Raises InvalidResultError.

    JSON of our own pods is read only up to `ts`, since parsing it whole would cost as much as sending it. Any other
    JSON is parsed. The viewer checks the rest.
    """
    document, jpeg = split_message(message)
    order, identity = _read_prefix(document) or _parse(document)
    if bytes(jpeg[:2]) != b"\xff\xd8":
        raise InvalidResultError("a result whose image does not start as a JPEG (FF D8)")
    return Incoming(message, document, order, identity)


def _read_prefix(document: bytes) -> tuple[int, Hashable] | None:
    """`order` and identity of JSON that starts as `domain.result` writes it; None for any other.

    Quotes inside JSON strings are escaped, so `,"order":` can only be a key. It is the result's own key if no object
    was opened before it.
    """
    if not document.startswith(_PREFIX) or not document.endswith(b"}"):
        return None
    key = document.find(_ORDER, len(_PREFIX), _PREFIX_BYTES)
    if key < 0 or document.find(b"{", len(_PREFIX), key) >= 0:
        return None
    begin = key + len(_ORDER)
    end = document.find(_SEQ, begin, begin + _NUMBER_BYTES)
    identity_end = document.find(_WIDTH, end, end + 3 * _NUMBER_BYTES)
    if end < 0 or identity_end < 0 or not document[begin:end].isdigit():
        return None
    try:
        document.decode()  # browsers close a websocket on text that is not UTF-8
    except UnicodeDecodeError:
        return None
    identity = document[end:identity_end]
    return int(document[begin:end]), None if identity == _NO_IDENTITY else identity


def _parse(document: bytes) -> tuple[int, Hashable]:
    check_size(document)
    try:
        fields = json.loads(document.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidResultError(f"a result that is not JSON: {error}") from None
    if not isinstance(fields, dict) or fields.get("v") != RESULT_VERSION:
        raise InvalidResultError(f"a result of a version other than {RESULT_VERSION}")
    order = fields.get("order")
    if type(order) is not int:
        raise InvalidResultError(f"a result whose order is {type(order).__name__}, expected an integer")
    seq, ts = fields.get("seq"), fields.get("ts")
    return order, None if seq is None and ts is None else f"{seq} {ts}"


def binary_frame(payload: bytes) -> bytes:
    """A websocket frame with a whole binary message."""
    return _header(_FINAL_BINARY, len(payload)) + payload


def text_frame(payload: bytes) -> bytes:
    """A websocket frame with a whole text message; `payload` must be UTF-8."""
    return _header(_FINAL_TEXT, len(payload)) + payload


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return struct.pack(">BB", first, length)
    if length < 65536:
        return struct.pack(">BBH", first, 126, length)
    return struct.pack(">BBQ", first, 127, length)
