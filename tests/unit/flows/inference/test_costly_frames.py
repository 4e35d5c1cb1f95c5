"""Costly images in a pod: which they are, how many workers they get, and that no other frame waits for them."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from tests.support.jpeg import noisy_jpeg, progressive_jpeg, with_size
from tests.support.pod_parts import STREAM, popped
from tests.support.waiting import wait_for

from elastic_inference.adapters.frame_queue import PoppedFrame
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.inference import costly_frames
from elastic_inference.flows.inference.costly_frames import RECENT_S, REST, CostlyFrames, decoding_s
from elastic_inference.flows.inference.ordering import Slot
from elastic_inference.flows.inference.task_queue import Task, TaskQueue

SIDE = 5744


def progressive(side: int = SIDE) -> bytes:
    """A small progressive image whose header says that it has this size."""
    return with_size(progressive_jpeg(64, 64), side, side)


def costly(order: int = 0) -> Task:
    frame = Frame("huge", "face", progressive(), order, None, 0.0, SIDE, SIDE)
    return Task(PoppedFrame(frame, order, 1.0, time.monotonic()), "huge", Slot("huge"))


def ordinary(order: int = 0) -> Task:
    return Task(popped(order), STREAM, Slot(STREAM))


@pytest.mark.parametrize(
    ("data", "side", "first_fps", "expected"),
    [
        (progressive(), SIDE, 100.0, True),
        (progressive(1000), 1000, 100.0, False),
        (noisy_jpeg(1), SIDE, 100.0, False),
        (noisy_jpeg(1) + bytes(1_500_000), 2900, 100.0, False),
        # Where each frame takes half a second, this one is like the others.
        (progressive(), SIDE, 2.0, False),
    ],
)
def test_which_images_are_costly(data: bytes, side: int, first_fps: float, expected: bool) -> None:
    frame = Frame("cam", "face", data, 1, None, 0.0, side, side)
    assert CostlyFrames(4, first_fps).is_costly(frame) is expected


def test_each_scan_costs_a_pass_over_all_pixels() -> None:
    image = progressive()
    assert decoding_s(image + b"\xff\xda" * 10, SIDE, SIDE) > 1.5 * decoding_s(image, SIDE, SIDE)
    assert decoding_s(image + b"\xff\xda" * 10_000, SIDE, SIDE) < 2.0


def test_how_many_workers_they_get() -> None:
    frames = CostlyFrames(4)

    def begin(now_s: float) -> int:
        """How many of four workers get one."""
        for _ in range(4):
            frames.put(costly())
        found = []
        # None may end before all have asked: Python gives its number to the next one.
        barrier = threading.Barrier(4)

        def ask() -> None:
            found.append(frames.next(now_s, others_wait=False))
            barrier.wait(20)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len([each for each in found if each is not None])

    assert begin(0.0) == 4, "nobody else sends frames"
    frames = CostlyFrames(4)
    frames.others_came(10.0)
    assert begin(10.5) == 2, "others do"
    frames = CostlyFrames(4)
    frames.others_came(10.0)
    frames.other_begins(0.5, 10.2)
    assert begin(10.5) == 1, "and one had to wait"


def test_a_worker_rests_after_one_that_held_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_s = [0.0]
    monkeypatch.setattr(costly_frames.time, "thread_time", lambda: cpu_s[0])
    frames = CostlyFrames(4)
    for _ in range(4):
        frames.put(costly())
    frames.others_came(10.0)
    assert frames.next(10.0, others_wait=True) is not None
    frames.others_came(10.9)
    cpu_s[0] += 1.0
    assert frames.next(11.0, others_wait=True) is None, "one of the others first"
    assert frames.next(11.0, others_wait=False) is not None, "nobody had to wait"
    frames.other_begins(0.9, 11.5)
    cpu_s[0] += 1.0
    assert frames.next(12.0, others_wait=False) is None
    assert frames.next(12.0 + REST - 0.1, others_wait=False) is None
    assert frames.next(12.0 + REST + 0.1, others_wait=False) is not None
    # It may have held up a frame that begins only after it.
    cpu_s[0] += 1.0
    assert frames.next(13.0 + REST, others_wait=True) is None
    frames.other_begins(0.5, 13.1 + REST)
    assert frames.next(13.2 + REST, others_wait=False) is None


def test_one_that_has_become_too_old_is_handed_out_at_once() -> None:
    frames = CostlyFrames(2, fresh_s=2.0)
    frames.put(old := costly())
    frames.put(costly())
    frames.others_came(now_s := time.monotonic())
    frames.other_begins(1.0, now_s)
    assert frames.next(now_s, others_wait=False) is old
    assert frames.next(now_s + 5.0, others_wait=True) is not None
    assert len(frames) == 0


def test_it_is_asked_no_more_when_nothing_is_left() -> None:
    frames = CostlyFrames(2)
    assert not frames.active
    frames.put(costly())
    assert frames.next(1.0, others_wait=False) is not None
    assert frames.next(2.0, others_wait=False) is None
    assert frames.active
    frames.next(2.0 + RECENT_S, others_wait=False)
    assert not frames.active


def test_others_pass_costly_frames_and_all_end() -> None:
    """Three workers, of which costly frames that take 0.3 s get one at most."""
    tasks = TaskQueue(3, 8)
    done: Counter[str] = Counter()
    last: dict[str, float] = {}

    def work() -> None:
        while (task := tasks.take()) is not None:
            time.sleep(0.3 if task.stream == "huge" else 0.001)
            done[task.stream] += 1
            last[task.stream] = time.monotonic()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert tasks.add([costly(1), costly(2), costly(3), *(ordinary(order) for order in range(100))]) == []
    wait_for(lambda: done[STREAM] == 100, 20, "the others")
    assert done["huge"] <= 1
    tasks.end(3)
    for thread in threads:
        thread.join(20)
    assert done == {"huge": 3, STREAM: 100}


def test_too_many_are_given_back() -> None:
    tasks = TaskQueue(2, 8)
    assert [task.popped.order for task in tasks.add([costly(order) for order in range(1, 6)])] == [1, 2, 3]
    assert tasks.in_hand == 5


def test_the_queue_uses_the_limits_that_it_is_given() -> None:
    """Nothing waits yet when it gets them. A costly frame that is too old leaves, however long they must rest."""
    limits = CostlyFrames(2, fresh_s=0.2)
    tasks = TaskQueue(2, 8, costly=limits)
    tasks.add([costly(1)])
    assert len(limits) == 1
    now_s = time.monotonic()
    assert limits.next(now_s, others_wait=False) is not None
    limits.other_begins(1.0, now_s + 1.0)
    limits.next(now_s + 1.0, others_wait=False)  # the first has ended
    tasks.add([costly(2)])
    limits.resize(2, float("inf"), 0.0)
    found = tasks.take()
    assert found is not None
    assert found.popped.order == 2
