"""A result as it arrives, and the websocket frames made of it. Pure.

A frame is built once for all viewers of one format: header and payload in one piece of memory that every viewer's
socket is fed from (RFC 6455, section 5.2: servers don't mask). Called by `watched_stream`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import StrEnum

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.result import RESULT_VERSION, split_message

_FINAL_TEXT = 0x81
_FINAL_BINARY = 0x82


class Format(StrEnum):
    """What a viewer asked for with `?format=`."""

    PICTURE = ""
    FRAME = "frame"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Incoming:
    """One result message from the broker: as it is, its JSON, and its place in the stream."""

    message: bytes
    document: bytes
    order: int


def read_incoming(message: bytes) -> Incoming:
    """Checks what the relay relies on: the split, version 1, an integer `order`, a JPEG. Raises InvalidResultError.

    The rest of the JSON is the viewer's business; reading all of it would cost as much as sending it.
    """
    document, jpeg = split_message(message)
    try:
        fields = json.loads(document.decode())
    except (ValueError, RecursionError) as error:
        raise InvalidResultError(f"a result that is not JSON: {error}") from None
    if not isinstance(fields, dict) or fields.get("v") != RESULT_VERSION:
        raise InvalidResultError(f"a result of another version than {RESULT_VERSION}")
    order = fields.get("order")
    if type(order) is not int:
        raise InvalidResultError(f"a result whose order is {type(order).__name__}, expected an integer")
    if bytes(jpeg[:2]) != b"\xff\xd8":
        raise InvalidResultError("a result whose picture does not start as a JPEG (FF D8)")
    return Incoming(message, document, order)


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
