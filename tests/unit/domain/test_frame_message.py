"""Frame messages: round trip, the legacy form, and everything that is refused."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.jpeg import tiny_jpeg

from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.flat_map import MAX_KEYS
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_frame, unpack_frame

JPEG = tiny_jpeg(64, 48)


def message(**changes: Any) -> bytes:
    fields = {"name": "cam-1", "category": "people", "data": JPEG} | changes
    packed: bytes = msgpack.packb({key: value for key, value in fields.items() if value is not ...})
    return packed


@given(
    seq=st.integers(0, 2**63 - 1),
    ts=st.floats(0, 4e9),
    age_ms=st.floats(0, 3_600_000),
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True),
)
def test_round_trip(seq: int, ts: float, age_ms: float, name: str) -> None:
    frame = Frame(name, "people", JPEG, seq, ts, age_ms, 64, 48)
    assert unpack_frame(pack_frame(frame), "people") == frame


def test_the_legacy_form_is_accepted() -> None:
    assert unpack_frame(message(), "people") == Frame("cam-1", "people", JPEG, None, None, 0.0, 64, 48)


@pytest.mark.parametrize(
    ("name", "clean"), [("a:b/c", "a_b_c"), ("Tür 🚪", "T_r__"), ("..", "x.."), ("a\nb\x00", "a_b_"), ("_" * 128, None)]
)
def test_names_are_cleaned(name: str, clean: str | None) -> None:
    cleaned = unpack_frame(message(name=name), "people").name
    assert cleaned == (clean or ("x" + name)[:128])


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"seq": -1}, (None, None, 0.0)),
        ({"seq": True}, (None, None, 0.0)),
        ({"seq": 2**63}, (None, None, 0.0)),
        ({"ts": float("nan")}, (None, None, 0.0)),
        ({"ts": 1790000000 + 3600}, (None, 1790003600.0, 0.0)),
        ({"age_ms": -5}, (None, None, 0.0)),
        ({"age_ms": float("inf")}, (None, None, 0.0)),
        ({"age_ms": 1e12}, (None, None, 3_600_000.0)),
        ({"width": "wide", "height": -1}, (None, None, 0.0)),
    ],
)
def test_odd_numbers_are_harmless(fields: dict[str, Any], seen: tuple[int | None, float | None, float]) -> None:
    frame = unpack_frame(message(**fields), "people")
    assert (frame.seq, frame.ts, frame.age_ms) == seen
    assert (frame.width, frame.height) == (64, 48)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", InvalidReason.EMPTY),
        (b"\xc1", InvalidReason.NOT_MSGPACK),
        (b"hello", InvalidReason.NOT_MSGPACK),
        (msgpack.packb([1, 2]), InvalidReason.NOT_MSGPACK),
        (b"\x91" * 2000 + b"\x01", InvalidReason.NOT_MSGPACK),
        (message()[:-3], InvalidReason.NOT_MSGPACK),
        (message(v=2), InvalidReason.VERSION),
        (message(v="1"), InvalidReason.VERSION),
        (message(name=...), InvalidReason.NAME),
        (message(name=""), InvalidReason.NAME),
        (message(name="n" * 10_000), InvalidReason.NAME),
        (message(name=b"\xff"), InvalidReason.NAME),
        (message(category="car"), InvalidReason.CATEGORY),
        (message(category=...), InvalidReason.CATEGORY),
        (message(data="text"), InvalidReason.FIELDS),
        (message(data=...), InvalidReason.FIELDS),
        (message(data=b""), InvalidReason.EMPTY),
        (message(data=b"not a JPEG"), InvalidReason.NOT_JPEG),
        (message(data=JPEG[:8]), InvalidReason.TRUNCATED),
        (message(data=tiny_jpeg(10_000, 10_000)), InvalidReason.TOO_LARGE),
        (message(data=tiny_jpeg(padding=5_000_000)), InvalidReason.TOO_LARGE),
    ],
)
def test_reasons(data: bytes, reason: InvalidReason) -> None:
    with pytest.raises(InvalidFrameError) as caught:
        unpack_frame(data, "people")
    assert caught.value.reason is reason
    assert len(str(caught.value)) < 300, "short enough for a log line"


@given(st.binary(max_size=300))
def test_any_other_bytes_are_an_invalid_frame(data: bytes) -> None:
    with pytest.raises(InvalidFrameError):
        unpack_frame(data, "people")


MIB = 1024 * 1024


def tree(leaf: bytes, *widths: int) -> bytes:
    """Maps of maps: `leaf` times the product of `widths`."""
    for width in widths:
        leaf = b"\xde\x00" + bytes([width]) + b"".join(b"\xa1" + bytes([key]) + leaf for key in range(width))
    return leaf


# Each fills most of a message of 4 MiB.
COSTLY = {
    "maps": tree(b"\x81\xa0" * 500 + b"\xc0", 60, 60),
    "empty maps": tree(b"\x80", 4, 60, 60, 60),
    "extensions": tree(b"\xd4\x05\x00", 4, 60, 60, 44),
    "long texts": tree(b"\xda\x04\x00" + b"\xf0\x9f\x9a\xaa" * 256, 60, 60),
    "maps in an array": b"\x81\xa1a\xdd" + (4 * MIB - 8).to_bytes(4, "big") + b"\x80" * (4 * MIB - 8),
    "an array of arrays alone": b"\xdd" + (4 * MIB - 5).to_bytes(4, "big") + b"\x90" * (4 * MIB - 5),
    "many keys": b"\xdf" + (MIB).to_bytes(4, "big") + b"\xa2ab\x80" * (MIB - 2),
    "a long name": b"\x81\xa4name\xdb" + (4 * MIB - 16).to_bytes(4, "big") + b"\xf0\x9f\x9a\xaa" * (MIB - 4),
    "a long key": b"\x81\xdb" + (4 * MIB - 12).to_bytes(4, "big") + b"\xf0\x9f\x9a\xaa" * (MIB - 3) + b"\x01",
    "maps one in another": b"\x81\xa1a" * (4 * MIB // 3),
    "an image of maps": b"\x81\xa4data" + (b"\xdc\x00\x10" + b"\x80" * 16) * 1000,
}


@pytest.mark.parametrize("what", COSTLY)
def test_nothing_nested_is_built(what: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidFrameError) as caught:
            unpack_frame(COSTLY[what], "people")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(COSTLY[what]) <= 4 * MIB
    assert caught.value.reason in (InvalidReason.NOT_MSGPACK, InvalidReason.NAME)
    assert peak < 9 * MIB


def test_fields_that_are_not_known_may_be_nested() -> None:
    more = {"zones": [{"a": 1}, {2: []}], "text": "x" * 100_000, "mark": msgpack.ExtType(5, b"x" * 999), "none": []}
    assert unpack_frame(message(**more), "people") == unpack_frame(message(), "people")
    too_many = {f"key {number}": number for number in range(MAX_KEYS)}
    with pytest.raises(InvalidFrameError, match="a map of 67 keys"):
        unpack_frame(message(**too_many), "people")
    with pytest.raises(InvalidFrameError, match="2 extra bytes after the map"):
        unpack_frame(message(zones=[1]) + b"\xa0\xa0", "people")
    with pytest.raises(InvalidFrameError, match="data is map"):
        unpack_frame(message(data={}), "people")
    with pytest.raises(InvalidFrameError, match="category 'array'"):
        unpack_frame(message(category=[1]), "people")
