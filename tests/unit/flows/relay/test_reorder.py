"""Reordering: whatever arrives, only rising numbers pass, nothing waits too long, nothing is lost without a count."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.flows.relay.reorder import RESET_AFTER_S, Reorder

WINDOW_S = 0.1


def test_in_order_passes_at_once() -> None:
    reorder: Reorder[int] = Reorder(WINDOW_S)
    assert [reorder.push(order, order, 0.0) for order in (5, 6, 7)] == [[5], [6], [7]]
    assert reorder.deadline_s() is None


def test_waits_for_the_missing_one() -> None:
    reorder: Reorder[int] = Reorder(WINDOW_S)
    assert reorder.push(1, 1, 0.0) == [1]
    assert reorder.push(3, 3, 0.01) == []
    assert reorder.push(4, 4, 0.02) == []
    assert reorder.deadline_s() == 0.01 + WINDOW_S
    assert reorder.push(2, 2, 0.05) == [2, 3, 4]
    assert (len(reorder), reorder.late) == (0, 0)


def test_goes_on_without_the_lost_one() -> None:
    reorder: Reorder[int] = Reorder(WINDOW_S)
    reorder.push(1, 1, 0.0)
    assert reorder.push(3, 3, 0.0) == []
    assert reorder.push(5, 5, 0.06) == []
    assert reorder.expire(0.09) == []
    assert reorder.expire(0.1) == [3]
    assert reorder.push(2, 2, 0.11) == []
    assert reorder.late == 1
    assert reorder.expire(0.16) == [5]


def test_what_has_waited_takes_its_elders_along() -> None:
    reorder: Reorder[int] = Reorder(WINDOW_S)
    reorder.push(1, 1, 0.0)
    reorder.push(9, 9, 0.0)
    reorder.push(5, 5, 0.05)
    assert reorder.expire(0.1) == [5, 9]


def test_duplicate_is_late() -> None:
    reorder: Reorder[str] = Reorder(WINDOW_S)
    reorder.push(1, "first", 0.0)
    assert reorder.push(1, "again", 0.0) == []
    reorder.push(3, "held", 0.0)
    assert reorder.push(3, "again", 0.0) == []
    assert reorder.late == 2
    assert reorder.expire(0.1) == ["held"]


def test_higher_numbers_after_a_restart_of_redis() -> None:
    reorder: Reorder[int] = Reorder(WINDOW_S)
    reorder.push(1_000, 1, 0.0)
    assert reorder.push(5_000_000, 2, 1.0) == []
    assert reorder.expire(1.0 + WINDOW_S) == [2]
    assert reorder.push(5_000_001, 3, 1.2) == [3]


def test_numbers_that_began_anew_pass_after_a_while() -> None:
    reorder: Reorder[int] = Reorder(WINDOW_S)
    reorder.push(1_000, 1, 0.0)
    assert reorder.push(5, 2, RESET_AFTER_S - 0.1) == []
    assert reorder.push(6, 3, RESET_AFTER_S) == [3]
    assert reorder.push(7, 4, RESET_AFTER_S) == [4]
    assert reorder.late == 1


def test_holds_a_bounded_number_and_size() -> None:
    reorder: Reorder[int] = Reorder(1000.0)
    reorder.push(0, 0, 0.0)
    passed = [item for order in range(2, 500) for item in reorder.push(order * 2, order, 0.0)]
    assert len(reorder) <= 64
    assert passed == sorted(passed)
    big: Reorder[int] = Reorder(1000.0)
    big.push(0, 0, 0.0)
    for order in range(2, 40, 2):
        big.push(order, order, 0.0, size_bytes=4 * 1024 * 1024)
    assert len(big) <= 4


arrivals = st.lists(st.tuples(st.integers(0, 60), st.floats(0, 0.08)), max_size=120)


@given(arrivals)
def test_whatever_arrives(pairs: list[tuple[int, float]]) -> None:
    reorder: Reorder[tuple[int, float]] = Reorder(WINDOW_S)
    now_s, passed, pushed = 0.0, [], 0
    for order, pause_s in pairs:
        now_s += pause_s
        while (deadline_s := reorder.deadline_s()) is not None and deadline_s <= now_s:
            passed += [(item, deadline_s) for item in reorder.expire(deadline_s)]
        passed += [(item, now_s) for item in reorder.push(order, (order, now_s), now_s)]
        pushed += 1
        passed += [(item, now_s) for item in reorder.expire(now_s)]
    while (deadline_s := reorder.deadline_s()) is not None:
        passed += [(item, deadline_s) for item in reorder.expire(deadline_s)]
    orders = [item[0] for item, _ in passed]
    assert orders == sorted(set(orders)), "only rising numbers may pass"
    assert all(at_s - item[1] <= WINDOW_S + 1e-9 for item, at_s in passed), "nothing waits longer than the window"
    assert len(passed) + reorder.late == pushed, "each item passes or is counted"
    assert len(reorder) == 0


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_nothing_is_lost_where_nothing_is_missing(seed: int, pods: int) -> None:
    """Pods that finish out of order, each within the window: all frames pass, in order."""
    generator = random.Random(seed)  # noqa: S311  no secret
    events = sorted((0.033 * n + generator.uniform(0, 0.09 if pods > 1 else 0), n) for n in range(1, 60))
    reorder: Reorder[int] = Reorder(WINDOW_S)
    passed = reorder.push(0, 0, 0.0)
    for at_s, order in events:
        passed += reorder.expire(at_s)
        passed += reorder.push(order, order, at_s)
    assert passed == list(range(60))
    assert reorder.late == 0
