"""The queue between the pop thread and the workers: its limits, and who wakes whom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.support.pod_parts import STREAM, popped
from tests.support.waiting import wait_for

from elastic_inference.flows.inference.ordering import Slot
from elastic_inference.flows.inference.task_queue import MAX_AHEAD, Task, TaskQueue, frames_ahead


def tasks_of(count: int) -> list[Task]:
    return [Task(popped(order), STREAM, Slot(STREAM)) for order in range(count)]


@pytest.mark.parametrize(("fps", "ahead"), [(1.0, 1), (100.0, 4), (250.0, 10), (10_000.0, MAX_AHEAD)])
def test_a_faster_pod_pops_more_frames_ahead(fps: float, ahead: int) -> None:
    assert frames_ahead(fps) == ahead


def test_there_is_room_while_few_frames_wait_for_a_worker() -> None:
    tasks = TaskQueue(workers=2, ahead=4)
    assert tasks.wait_for_room(0.0)
    tasks.add(tasks_of(3))
    assert not tasks.wait_for_room(0.01)
    assert tasks.take() is not None
    assert tasks.wait_for_room(0.01)
    assert (tasks.waiting, tasks.in_hand) == (2, 3)


def test_frames_that_are_not_released_leave_no_room() -> None:
    tasks = TaskQueue(workers=2, ahead=1)
    tasks.add(tasks_of(12))
    for _ in range(12):
        tasks.take()
    assert (tasks.waiting, tasks.in_hand) == (0, 12)
    assert not tasks.wait_for_room(0.01)
    tasks.release(1, 4)
    assert tasks.wait_for_room(0.01)


def test_large_frames_in_hand_leave_no_room() -> None:
    tasks = TaskQueue(workers=2, ahead=8, max_bytes=10)
    assert tasks.wait_for_room(0.0)
    tasks.add(tasks_of(3))
    assert not tasks.wait_for_room(0.01)
    tasks.release(1, 4)
    assert tasks.wait_for_room(0.01)


@contextmanager
def waiting_for_room(tasks: TaskQueue) -> Iterator[list[bool]]:
    """A pop thread that waits; at the end the list holds what `wait_for_room` returned."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(tasks.wait_for_room(30.0)))
    thread.start()
    wait_for(lambda: tasks._wants_room, what="the pop thread to wait")
    yield found
    thread.join(10)


@pytest.mark.parametrize(("act", "room"), [(TaskQueue.take, True), (TaskQueue.interrupt, False)])
def test_a_worker_that_takes_a_frame_and_an_interrupt_wake_the_pop_thread(
    act: Callable[[TaskQueue], object], room: bool
) -> None:
    tasks = TaskQueue(workers=2, ahead=1)
    tasks.add(tasks_of(1))
    with waiting_for_room(tasks) as found:
        act(tasks)
    assert found == [room]


def test_a_frame_that_is_released_wakes_the_pop_thread() -> None:
    tasks = TaskQueue(workers=2, ahead=1)
    tasks.add(tasks_of(12))
    for _ in range(12):
        tasks.take()
    with waiting_for_room(tasks) as found:
        tasks.release(1, 4)
    assert found == [True]


def test_workers_end_after_the_last_frame() -> None:
    tasks = TaskQueue(workers=2, ahead=4)
    tasks.add(tasks_of(1))
    tasks.end(2)
    taken = [tasks.take() for _ in range(3)]
    assert [task is None for task in taken] == [False, True, True]
