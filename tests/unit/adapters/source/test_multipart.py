"""Cutting a multipart body into parts, however it arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.adapters.source.multipart import MAX_HEADER_BYTES, MultipartReader, boundary_of
from elastic_inference.domain.errors import SourceError

PARTS = [b"\xff\xd8one\r\n--x\xff\xd9", b"\xff\xd8" + bytes(range(256)) + b"\xff\xd9", b"\xff\xd8\n\xff\xd9"]


def body(parts: list[bytes], *, length: bool, dashes: str = "--", newline: str = "\r\n") -> bytes:
    text = b"a preamble" + newline.encode()
    for part in parts:
        head = f"{dashes}cut{newline}Content-Type: image/jpeg{newline}"
        head += f"Content-Length: {len(part)}{newline}" if length else ""
        text += head.encode() + newline.encode() + part + newline.encode()
    return text + f"{dashes}cut--{newline}".encode()


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=cut", b"cut"),
        ("multipart/x-mixed-replace;boundary=--cut", b"cut"),
        ('Multipart/X-Mixed-Replace; charset=x; Boundary="a b"', b"a b"),
    ],
)
def test_the_boundary_is_read_as_cameras_write_it(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", ["", "text/html", "image/jpeg", "multipart/x-mixed-replace", "x; boundary=y"])
def test_other_content_is_an_error(content_type: str) -> None:
    with pytest.raises(SourceError, match="expected multipart"):
        boundary_of(content_type)


@given(
    length=st.booleans(),
    dashes=st.sampled_from(["--", "", "----"]),
    newline=st.sampled_from(["\r\n", "\n"]),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=50),
)
def test_parts_come_out_whole_however_the_bytes_arrive(
    length: bool, dashes: str, newline: str, sizes: list[int]
) -> None:
    reader = MultipartReader(b"cut", 10_000)
    data = body(PARTS, length=length, dashes=dashes, newline=newline)
    found: list[bytes] = []
    at = turn = 0
    while at < len(data):
        step = sizes[turn % len(sizes)]
        found += reader.feed(data[at : at + step])
        at += step
        turn += 1
    assert found == PARTS
    assert reader.oversize == 0


@pytest.mark.parametrize("length", [True, False])
def test_a_part_that_is_too_large_is_skipped_and_the_next_one_read(length: bool) -> None:
    reader = MultipartReader(b"cut", 1000)
    data = body([b"\xff\xd8" + b"y" * 5_000, PARTS[1]], length=length)
    found = [part for at in range(0, len(data), 777) for part in reader.feed(data[at : at + 777])]
    assert found == [PARTS[1]]
    assert reader.oversize == 1


def test_a_body_without_boundaries_is_an_error_and_takes_no_memory() -> None:
    reader = MultipartReader(b"cut", 10_000)
    for _ in range(80):
        reader.feed(b"z" * 1000)
    with pytest.raises(SourceError, match="no boundary"):
        reader.feed(b"z" * 2000)
    assert len(reader._buffer) < 2000


def test_a_header_without_end_is_an_error() -> None:
    reader = MultipartReader(b"cut", 10_000)
    with pytest.raises(SourceError, match="header"):
        reader.feed(b"--cut\r\n" + b"X-Long: y" * MAX_HEADER_BYTES)


@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_any_bytes_give_parts_or_a_source_error(pieces: list[bytes]) -> None:
    reader = MultipartReader(b"c", 5000)
    try:
        for piece in pieces:
            reader.feed(piece)
    except SourceError:
        pass
    assert len(reader._buffer) <= 5000 + MAX_HEADER_BYTES + 2100
