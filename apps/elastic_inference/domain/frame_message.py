"""The frame message: a `Frame` packed as a msgpack map, and unpacked with every check that input from outside needs.

Called by producers (pack) and pods (unpack). Uses msgpack, not Redis.
"""

from __future__ import annotations

import dataclasses
import math
import operator

import msgpack

from elastic_inference.domain import keys
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.flat_map import Skipped, read_flat_map
from elastic_inference.domain.frame import FRAME_VERSION, Frame, shown_size
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_FRAME_PIXELS
from elastic_inference.domain.jpeg_header import jpeg_header

# Allowance for all but the image: field names, two names of 128 characters, numbers.
MESSAGE_OVERHEAD_BYTES = 512
# All fields but the image, which comes last.
_KEYS = tuple(field.name for field in dataclasses.fields(Frame) if field.name != "data")
_MAX_SHOWN = 100
_values = operator.attrgetter(*_KEYS)
# In msgpack: a map with one more key, that key, and bytes with a length of four bytes.
_MAP = bytes([0x80 | (len(_KEYS) + 1)])
_DATA = b"\xa4data\xc6"
_SMALL_BYTES = 1024


def pack_frame(frame: Frame) -> bytes:
    """The frame's message: a map with all fields of `Frame`. The image's bytes are copied once."""
    return pack_start(frame) + frame.data


def pack_start(frame: Frame) -> bytes:
    """The frame's message without the image's bytes at its end: sending both separately avoids a copy of the image."""
    fields: bytes = msgpack.Packer(buf_size=_SMALL_BYTES).pack(dict(zip(_KEYS, _values(frame), strict=True)))
    return b"%b%b%b%b" % (_MAP, fields[1:], _DATA, len(frame.data).to_bytes(4, "big"))


def unpack_frame(
    message: bytes,
    infer_type: str,
    *,
    max_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    max_pixels: int = DEFAULT_MAX_FRAME_PIXELS,
) -> Frame:
    """Unpacks the message of any producer, legacy producers (`{name, category, data}`) included.

    The name is cleaned (see `keys.clean_name`); width and height are read from the JPEG's header.
    Raises InvalidFrameError with the reason to count, and nothing else, whatever the bytes are.
    """
    if not message:
        raise InvalidFrameError(InvalidReason.EMPTY, "an empty message")
    if len(message) > max_bytes:
        raise InvalidFrameError(InvalidReason.TOO_LARGE, f"{len(message)} bytes, at most {max_bytes} are accepted")
    try:
        fields = read_flat_map(message)
    except ValueError as error:
        raise InvalidFrameError(InvalidReason.NOT_MSGPACK, f"not a msgpack map: {str(error)[:_MAX_SHOWN]}") from None
    version = fields.get("v", FRAME_VERSION)
    if version != FRAME_VERSION:
        shown = version if isinstance(version, int) else _kind(version)
        raise InvalidFrameError(InvalidReason.VERSION, f"version {shown}, expected {FRAME_VERSION}")
    name, category, data = fields.get("name"), fields.get("category"), fields.get("data")
    if not isinstance(name, str) or (cleaned := keys.clean_name(name)) is None:
        raise InvalidFrameError(InvalidReason.NAME, "the stream's name is missing, empty or longer than 128 characters")
    if category != infer_type:
        shown = category[:_MAX_SHOWN] if isinstance(category, str) else _kind(category)
        raise InvalidFrameError(InvalidReason.CATEGORY, f"category {shown!r} in the queue of {infer_type!r}")
    if not isinstance(data, bytes):
        raise InvalidFrameError(InvalidReason.FIELDS, f"data is {_kind(data)}, expected bytes")
    header = jpeg_header(data)
    width, height = shown_size(data) if header is None else header.shown
    if width * height > max_pixels:
        raise InvalidFrameError(InvalidReason.TOO_LARGE, f"{width}x{height}, at most {max_pixels} pixels are accepted")
    return Frame(
        name=cleaned,
        category=infer_type,
        data=data,
        seq=_uint(fields.get("seq")),
        ts=_finite(fields.get("ts")),
        age_ms=min(max(_finite(fields.get("age_ms")) or 0.0, 0.0), 3_600_000.0),
        width=width,
        height=height,
    )


def _kind(value: object) -> str:
    return value.kind if isinstance(value, Skipped) else type(value).__name__


def _uint(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _finite(value: object) -> float | None:
    if type(value) is float:  # as our own producers write it
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
