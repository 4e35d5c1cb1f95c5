"""A budget of bytes: who waits for what, and in which order."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.support.waiting import wait_for

from elastic_inference.base.byte_budget import ByteBudget


def started(budget: ByteBudget, count: int, then: Callable[[], None]) -> threading.Thread:
    before = len(budget._waiting)

    def run() -> None:
        budget.take(count)
        then()

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: len(budget._waiting) > before, what="the thread to wait")
    return thread


def test_what_fits_is_taken_at_once() -> None:
    budget = ByteBudget(100)
    budget.take(60)
    budget.take(40)
    assert budget.used == 100
    budget.give_back(100)
    assert (budget.used, budget.fits(100), budget.fits(101)) == (0, True, False)


def test_what_does_not_fit_waits_and_only_a_small_part_overtakes_it() -> None:
    budget, order = ByteBudget(100), []
    budget.take(60)
    large = started(budget, 80, lambda: order.append("large"))
    medium = started(budget, 20, lambda: order.append("medium"))
    budget.take(3)
    budget.give_back(3)
    assert order == []
    budget.give_back(60)
    for thread in (large, medium):
        thread.join(10)
    assert sorted(order) == ["large", "medium"]
    assert budget.used == 100


def test_never_more_than_the_budget_is_taken() -> None:
    budget, peaks = ByteBudget(100), []

    def work(count: int) -> None:
        for _ in range(200):
            budget.take(count)
            peaks.append(budget.used)
            budget.give_back(count)

    threads = [threading.Thread(target=work, args=(count,)) for count in (10, 35, 50, 99, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert max(peaks) <= 100
    assert budget.used == 0
