"""Frames for another model: a share of them, the newest, within limits."""

from __future__ import annotations

import threading

from tests.support.pod_parts import outgoing
from tests.support.results import make_result

from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.flows.inference.frame_samples import MAX_FRAMES, FrameSamples


def taken(samples: FrameSamples) -> list[int]:
    """The orders of all frames that are held."""
    found = []
    while (each := samples.take(0)) is not None:
        found.append(each[0].order)
    return found


def test_it_holds_nothing_while_it_is_off() -> None:
    samples = FrameSamples()
    samples.add([outgoing(1)])
    assert taken(samples) == []
    samples.turn(1.0)
    samples.add([outgoing(2)])
    samples.turn(0.0)
    assert taken(samples) == []


def test_it_keeps_a_share_of_the_frames() -> None:
    draws = iter([0.1, 0.6, 0.4, 0.5])
    samples = FrameSamples(draw=lambda: next(draws))
    samples.turn(0.5)
    samples.add([outgoing(order) for order in range(1, 5)])
    assert taken(samples) == [1, 3]


def test_the_oldest_go_first_and_are_counted() -> None:
    samples = FrameSamples()
    samples.turn(1.0)
    samples.add([outgoing(order) for order in range(MAX_FRAMES + 3)])
    assert samples.skipped == 3
    assert taken(samples) == list(range(3, MAX_FRAMES + 3))
    samples.limit_bytes = 1000
    samples.add([(make_result(order=order), b"x" * 400) for order in range(3)])
    samples.add([(make_result(order=9), b"x" * 1001)])
    assert taken(samples) == [1, 2]


def test_its_memory_comes_from_the_budget_while_it_is_on() -> None:
    budget = ByteBudget(800)
    samples = FrameSamples(budget)
    assert samples.limit_bytes == 100
    samples.turn(0.1)
    samples.turn(1.0)
    assert budget.total == 700
    samples.turn(0.0)
    assert budget.total == 800


def test_a_waiting_thread_gets_the_next_frame() -> None:
    samples = FrameSamples()
    samples.turn(1.0)
    timer = threading.Timer(0.05, lambda: samples.add([outgoing(7)]))
    timer.start()
    found = samples.take(30)
    timer.join()
    assert found is not None
    assert found[0].order == 7
