"""The frames that a pod keeps for events: bounded in bytes and in time, and none while nobody wants them."""

from __future__ import annotations

from tests.support.results import make_result

from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.flows.inference.recent_frames import KEEP_S, SHARE, RecentFrames

STREAM = "cam:people:inferred"
KB = b"x" * 1000


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def kept(frames: RecentFrames, *orders: int) -> list[int]:
    return [order for order in orders if frames.find(STREAM, order) is not None]


def test_it_keeps_the_very_bytes_of_frames_that_show_something() -> None:
    frames = RecentFrames(10_000)
    frames.turn(True)
    frames.add([(make_result(order=1), KB), (make_result(order=2, detections=()), KB)])
    assert frames.find(STREAM, 1) is KB
    assert kept(frames, 1, 2) == [1]


def test_the_oldest_go_when_there_are_too_many_bytes() -> None:
    frames = RecentFrames(3500)
    frames.turn(True)
    for order in range(6):
        frames.add([(make_result(order=order), KB)])
    frames.add([(make_result(order=9), b"x" * 4000)])
    assert (kept(frames, *range(10)), frames.used_bytes) == ([3, 4, 5], 3000)


def test_old_ones_go_also_when_nothing_comes() -> None:
    clock = Clock()
    frames = RecentFrames(10_000, monotonic=clock)
    frames.turn(True)
    frames.add([(make_result(order=1), KB)])
    clock.now_s = KEEP_S - 0.1
    frames.add([(make_result(order=2), KB)])
    assert kept(frames, 1, 2) == [1, 2]
    clock.now_s += 0.2
    frames.trim()
    assert (kept(frames, 1, 2), frames.used_bytes) == ([2], 1000)


def test_a_number_that_comes_twice_is_the_newest_frame() -> None:
    clock = Clock()
    frames = RecentFrames(10_000, monotonic=clock)
    frames.turn(True)
    frames.add([(make_result(order=1), KB)])
    clock.now_s = 3.0
    frames.add([(make_result(order=1), b"new")])
    clock.now_s = KEEP_S + 1
    frames.trim()
    assert (frames.find(STREAM, 1), frames.used_bytes, len(frames)) == (b"new", 3, 1)


def test_without_an_event_service_it_holds_nothing_and_takes_no_memory() -> None:
    budget = ByteBudget(800_000)
    frames = RecentFrames(1 << 30, budget)
    frames.add([(make_result(order=1), KB)])
    assert (len(frames), budget.total) == (0, 800_000)
    frames.turn(True)
    frames.turn(True)
    assert frames.limit_bytes == 800_000 // SHARE
    assert budget.total == 800_000 - frames.limit_bytes
    frames.add([(make_result(order=1), KB)])
    frames.turn(False)
    assert (len(frames), frames.used_bytes, budget.total) == (0, 0, 800_000)
