"""One continuous media time from whatever time stamps a stream has."""

from __future__ import annotations

from itertools import pairwise

import pytest

from elastic_inference.adapters.source.media_clock import MediaClock


def steps(clock: MediaClock, stamps: list[float | None]) -> list[float]:
    found = [clock.tick(stamp) for stamp in stamps]
    return [round(after - before, 6) for before, after in pairwise(found)]


def test_time_stamps_count_from_the_first_frame() -> None:
    clock = MediaClock(0.1)
    assert clock.tick(90000.5) == 0
    assert clock.tick(90000.75) == pytest.approx(0.25)


def test_missing_time_stamps_follow_at_the_mean_rate() -> None:
    assert steps(MediaClock(0.1), [None, None, 5.0, 5.3, None, 7.0]) == [0.1, 0.1, 0.3, 0.1, 0.3]


def test_a_jump_back_or_far_ahead_continues_by_one_frame() -> None:
    assert steps(MediaClock(0.04), [10.0, 10.04, 3.0, 3.04, 9000.0, 9000.04]) == [0.04] * 5


def test_a_long_pause_within_a_recording_is_kept() -> None:
    assert steps(MediaClock(0.1), [0.0, 90.0, 90.1]) == [90.0, 0.1]


def test_a_loop_continues_by_one_mean_interval() -> None:
    clock = MediaClock(0.1)
    clock.tick(0.0)
    last = clock.tick(5.0)
    clock.restart()
    assert clock.tick(0.0) == pytest.approx(last + 0.1)
