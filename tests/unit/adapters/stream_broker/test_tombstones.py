"""Messages of tombstones read back; anything else is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.adapters.stream_broker.tombstones import parse_tombstones, tombstones_message
from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.sequence import Tombstone

STREAM = "gate-1:people:inferred"


@given(st.lists(st.builds(Tombstone, st.just(STREAM), st.integers(0, 2**63), st.text(max_size=20))))
def test_tombstones_survive_a_round_trip(tombstones: list[Tombstone]) -> None:
    assert parse_tombstones(STREAM, tombstones_message(tombstones)) == tombstones


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[]",
        b"{}",
        b'{"v":2,"tombstones":[]}',
        b'{"v":1}',
        b'{"v":1,"tombstones":1}',
        b'{"v":1,"tombstones":[7]}',
        b'{"v":1,"tombstones":[["7","invalid"]]}',
        b'{"v":1,"tombstones":[[true,"invalid"]]}',
        b"[" * 100_000,
    ],
)
def test_refuses_what_it_cannot_read(message: bytes) -> None:
    with pytest.raises(InvalidResultError):
        parse_tombstones(STREAM, message)


@given(st.binary(max_size=100))
def test_never_another_error(message: bytes) -> None:
    with contextlib.suppress(InvalidResultError):
        parse_tombstones(STREAM, message)
