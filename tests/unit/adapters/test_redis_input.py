"""Reading what Redis returns: known reasons, digits, names, and bounds."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.redis_input import DropClaims, read_count, read_name, read_number, read_text
from elastic_inference.domain.errors import DropReason


@pytest.mark.parametrize(
    "raw", [None, b"", b"-1", -1, b"1.5", b"1e3", b"\xb2", "٣".encode(), b"9" * 30, b" 1", [], ValueError()]
)
def test_an_invalid_count_is_zero(raw: object) -> None:
    assert read_count(raw) == 0


@pytest.mark.parametrize("raw", [None, b"nan", b"inf", b"-1", b"1e400", b"x", b"1" * 100, [], ValueError()])
def test_an_invalid_number_is_zero(raw: object) -> None:
    assert read_number(raw) == 0.0


@pytest.mark.parametrize("raw", [None, "a", b"", b"-a", b"a:b", b"a" * 129, b"a\n", b"\xff", "é".encode(), []])
def test_an_invalid_name_is_none(raw: object) -> None:
    assert read_name(raw) is None


def test_text_is_cut_and_can_always_be_shown() -> None:
    assert read_text(b"\xffab") == "\ufffdab"
    assert len(read_text(b"x" * 5_000_000)) == 128
    assert read_text(7) == ""


def test_drops_are_bounded_by_the_time_since_the_last_claim() -> None:
    clock = [0.0]
    claims = DropClaims(lambda: clock[0])
    assert claims.read([b"queue_full", 5_000_000, b"stale", 2]) == {
        DropReason.QUEUE_FULL: 5_000_000,
        DropReason.STALE: 2,
    }, "the first may cover days without a pod"
    clock[0] = 0.1
    assert claims.read([b"queue_full", 1_000_000, b"stale", 1]) == {DropReason.QUEUE_FULL: 20_000, DropReason.STALE: 0}
    assert claims.refused == 980_001
    clock[0] = 60.1
    assert claims.read([b"stale", 1_000_000]) == {DropReason.STALE: 1_000_000}


@pytest.mark.parametrize(
    "raw", [None, 7, b"queue_full", [b"queue_full"], [b"other", 1], [None, None], [b"stale", b"x"], [[b"stale"], 1]]
)
def test_forged_drops_are_left_out(raw: object) -> None:
    assert DropClaims().read(raw).total() == 0
