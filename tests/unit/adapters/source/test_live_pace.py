"""Live sources are read at once, recordings that a server sends as fast as it can at their own speed."""

from __future__ import annotations

import random

import pytest

from elastic_inference.adapters.source.live_pace import LivePace

FPS = 25


def played(seconds: float, cost_s: float = 0.001) -> float:
    """How many seconds of a recording are read in the given time, if a frame costs `cost_s`."""
    pace, now, number = LivePace(), 100.0, 0
    while now < 100 + seconds:
        now += cost_s + pace.pause_s(number / FPS, now)
        number += 1
    return number / FPS


def test_a_recording_is_read_at_its_own_speed_after_a_burst() -> None:
    assert 14 <= played(1) <= 17
    assert 120 <= played(100) <= 130


def test_a_source_that_is_slower_than_real_time_never_waits() -> None:
    pace = LivePace()
    assert not any(pace.pause_s(number / FPS, number / FPS * 1.05) for number in range(10_000))


@pytest.mark.parametrize("speed", [1.01, 2.0])
def test_a_camera_with_wrong_time_stamps_and_uneven_frames_never_waits(speed: float) -> None:
    pace, jitter = LivePace(), random.Random(1)  # noqa: S311  the same in each run
    assert not any(pace.pause_s(number / FPS * speed, number / FPS + jitter.uniform(0, 2)) for number in range(20_000))


@pytest.mark.parametrize("after_s", [0, 5, 100])
def test_a_camera_whose_clock_is_set_never_waits(after_s: float) -> None:
    pace = LivePace()
    for number in range(200 * FPS):
        jump_s = 500 if number > after_s * FPS else 0
        assert pace.pause_s(number / FPS + jump_s, number / FPS) == 0


def test_what_comes_at_once_after_a_pause_of_the_network_never_waits() -> None:
    pace = LivePace()
    for number in range(60 * FPS):
        assert pace.pause_s(number / FPS, number / FPS) == 0
    for number in range(60 * FPS, 90 * FPS):  # half a minute arrives in one moment
        assert pace.pause_s(number / FPS, 90.0) == 0


def test_key_frames_that_a_server_has_kept_never_wait() -> None:
    pace = LivePace()
    assert not any(pace.pause_s(number / FPS, 0.0) for number in range(14 * FPS))
