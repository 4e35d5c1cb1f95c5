"""How many turns legacy frames get."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.frame_queue.legacy_share import LegacyShare


def turns(share: LegacyShare, pops: int, size: int, now: float) -> int:
    total = 0
    for _ in range(pops):
        given = share.turns(size, now)
        assert given <= max(1, size // 2)
        share.spend(given)
        total += given
    return total


@pytest.mark.parametrize(("legacy", "fair", "expected"), [(1, 99, 0.01), (1, 1, 0.5), (50, 1, 0.5), (10, 30, 0.25)])
def test_share_is_that_of_the_streams_and_at_most_half(legacy: int, fair: int, expected: float) -> None:
    share = LegacyShare(window_s=5)
    for index in range(legacy):
        share.saw_legacy(f"old-{index}", 1.0)
    for index in range(fair):
        share.saw_fair(f"cam-{index}", 1.0)
    for size in (1, 3, 8):
        highest = 0.5 if size == 1 else size // 2 / size
        assert turns(share, 1000, size, 1.0) == pytest.approx(1000 * size * min(expected, highest), rel=0.05)


def test_what_is_not_used_does_not_pile_up() -> None:
    share = LegacyShare()
    for _ in range(100):
        share.turns(8, 1.0)
    assert share.turns(8, 1.0) <= 4


def test_ended_streams_are_forgotten() -> None:
    share = LegacyShare(window_s=1)
    for index in range(99):
        share.saw_fair(f"cam-{index}", 1.0)
    share.saw_legacy("old", 1.0)
    assert turns(share, 100, 1, 1.5) <= 2
    assert turns(share, 100, 1, 10.0) == 50
