"""Which packets of a quiet stream are decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from elastic_inference.adapters.source.resting import MAX_BYTES, MAX_PACKETS, Resting

PIXELS = 640 * 360
GROUP = 30


@dataclass(frozen=True)
class Packet:
    size: int
    number: int = 0


def group(resting: Resting[Packet], sizes: Iterable[int], key: int = 20_000) -> tuple[bool, list[list[Packet] | None]]:
    """A key frame and the packets after it: whether it is decoded alone, and what is decoded for each of the others."""
    alone = resting.key(Packet(key), PIXELS)
    return alone, [resting.between(Packet(size, number)) for number, size in enumerate(sizes, 1)]


def calm(count: int = GROUP - 1, level: int = 100) -> list[int]:
    return [level + number % 7 for number in range(count)]


@pytest.fixture
def resting() -> Resting[Packet]:
    """A stream that rests."""
    found: Resting[Packet] = Resting()
    found.asked = True
    assert group(found, calm())[0] is False, "nothing is known of it yet"
    assert group(found, calm()) == (True, [None] * (GROUP - 1))
    return found


def test_every_packet_is_decoded_until_nothing_moves() -> None:
    found: Resting[Packet] = Resting()
    for _ in range(3):
        alone, decoded = group(found, calm())
        assert not alone
        assert [len(each or []) for each in decoded] == [1] * (GROUP - 1)


def test_growing_packets_wake_it_with_the_whole_group(resting: Resting[Packet]) -> None:
    alone, decoded = group(resting, [*calm(9), 900, *calm(9)])
    assert alone
    assert decoded[:9] == [None] * 9
    assert [each.number for each in decoded[9] or []] == list(range(11)), "the key frame is the first"
    assert [len(each or []) for each in decoded[10:]] == [1] * 9
    assert not group(resting, calm(5))[0], "it learns again first"


def test_a_slight_growth_that_stays_wakes_it(resting: Resting[Packet]) -> None:
    _, decoded = group(resting, [*calm(9), *calm(20, 180)])
    assert any(decoded[9:16])


def test_it_wakes_at_once_when_it_is_told_to(resting: Resting[Packet]) -> None:
    assert resting.key(Packet(20_000), PIXELS)
    assert resting.between(Packet(100)) is None
    resting.asked = False
    assert [each.size for each in resting.between(Packet(101)) or []] == [20_000, 100, 101]
    assert not resting.key(Packet(20_000), PIXELS)


def test_sizes_that_vary_much_say_nothing() -> None:
    found: Resting[Packet] = Resting()
    found.asked = True
    for _ in range(4):
        alone, _ = group(found, [3000 + 900 * (number % 5) for number in range(GROUP - 1)])
        assert not alone


@pytest.mark.parametrize(("count", "size"), [(MAX_PACKETS + 5, 100), (40, MAX_BYTES // 30)])
def test_what_is_kept_is_bounded(resting: Resting[Packet], count: int, size: int) -> None:
    resting.key(Packet(20_000), PIXELS)
    kept = 0
    for _ in range(count):
        decoded = resting.between(Packet(size))
        if decoded is not None:
            kept = max(kept, sum(each.size for each in decoded))
            assert len(decoded) <= MAX_PACKETS + 1
    assert 0 < kept <= MAX_BYTES + size
    assert not resting.key(Packet(20_000), PIXELS), "such groups are decoded"


def test_a_slow_walker_who_adds_few_bytes_wakes_a_stream_with_little_noise() -> None:
    resting: Resting[Packet] = Resting()
    resting.asked = True
    # Bytes as x264 makes them of a place in which nothing moves, and when somebody at a distance comes in slowly.
    still = [18 + number * 7 % 20 for number in range(GROUP - 1)]
    walker = [36 + number * 11 % 34 for number in range(GROUP - 1)]
    group(resting, still)
    assert group(resting, still) == (True, [None] * len(still))
    _, decoded = group(resting, walker)
    assert any(decoded[:12])
