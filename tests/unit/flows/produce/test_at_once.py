"""When the thread that reads encodes too."""

from __future__ import annotations

from elastic_inference.flows.produce.at_once import APART_S, TIMES, WAIT_S, AtOnce


def run(at_once: AtOnce, frames: int, reading_s: float, encoding_s: float, interval_s: float) -> list[bool]:
    """Whether each frame was encoded at once, for a camera that sends at a steady rate."""
    now, found = 100.0, []
    for number in range(frames):
        # Reading is late where the frame before took too long.
        now = max(now, 100.0 + number * interval_s) + reading_s
        found.append(at_once.allows(now))
        if found[-1]:
            now += encoding_s
            at_once.took(now)
    return found


def test_a_camera_of_which_much_time_is_left_is_always_encoded_at_once() -> None:
    assert all(run(AtOnce(), 300, 0.008, 0.005, 1 / 15))


def test_where_both_together_take_longer_than_the_interval_another_thread_encodes() -> None:
    found = run(AtOnce(), 300, 0.008, 0.005, 1 / 100)
    assert found.count(True) <= 3 * (TIMES + 1)
    assert not all(found[: TIMES + 2])


def test_where_encoding_takes_nearly_nothing_it_stays() -> None:
    # Frames come late, but another thread would not change that.
    assert all(run(AtOnce(), 300, 0.012, 0.001, 1 / 100))


def test_a_slow_redis_ends_it_at_once_and_for_a_while() -> None:
    at_once = AtOnce()
    assert at_once.allows(100.0)
    assert at_once.allows(100.05)
    at_once.took(100.05 + 2 * WAIT_S)
    assert not at_once.allows(101.0)
    assert at_once.allows(100.3 + APART_S)


def test_two_frames_that_come_together_change_nothing() -> None:
    at_once = AtOnce()
    for number in range(50):
        for now in (100.0 + number * 0.1, 100.006 + number * 0.1):
            assert at_once.allows(now)
            at_once.took(now + 0.005)
