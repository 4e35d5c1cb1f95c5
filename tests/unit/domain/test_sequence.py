"""Sequence: whatever arrives, only rising numbers pass, nothing waits too long, nothing is lost without a count."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elastic_inference.domain.sequence import RESET_AFTER_S, Sequence

WINDOW_S = 0.1


def running(last: int = 0) -> Sequence[int]:
    """A sequence whose start is fixed: `last` has passed at -1 s."""
    sequence: Sequence[int] = Sequence(WINDOW_S)
    assert sequence.push(last, last, -1.0) == []
    assert sequence.expire(-1.0 + WINDOW_S) == [last]
    return sequence


def test_in_order_passes_at_once() -> None:
    sequence = running(4)
    assert [sequence.push(order, order, 0.0) for order in (5, 6, 7)] == [[5], [6], [7]]
    assert sequence.deadline_s() is None


def test_waits_for_the_missing_one() -> None:
    sequence = running(1)
    assert sequence.push(3, 3, 0.01) == []
    assert sequence.push(4, 4, 0.02) == []
    assert sequence.deadline_s() == 0.01 + WINDOW_S
    assert sequence.push(2, 2, 0.05) == [2, 3, 4]
    assert (len(sequence), sequence.late) == (0, 0)


def test_continues_without_the_lost_one() -> None:
    sequence = running(1)
    assert sequence.push(3, 3, 0.0) == []
    assert sequence.push(5, 5, 0.06) == []
    assert sequence.expire(0.09) == []
    assert sequence.expire(0.1) == [3]
    assert sequence.push(2, 2, 0.11) == []
    assert sequence.late == 1
    assert sequence.expire(0.16) == [5]


def test_an_expired_item_takes_lower_ones_along() -> None:
    sequence = running(1)
    sequence.push(9, 9, 0.0)
    sequence.push(5, 5, 0.05)
    assert sequence.expire(0.1) == [5, 9]


def test_the_first_arrival_does_not_fix_the_start() -> None:
    sequence: Sequence[int] = Sequence(WINDOW_S)
    assert sequence.push(8, 8, 0.0) == []
    assert sequence.push(9, 9, 0.03) == []
    assert sequence.push(7, 7, 0.08) == []
    assert sequence.deadline_s() == WINDOW_S
    assert sequence.expire(WINDOW_S) == [7, 8, 9]
    assert sequence.push(10, 10, 0.11) == [10]
    assert sequence.late == 0


def test_a_single_pod_waits_at_the_start_only() -> None:
    sequence: Sequence[int] = Sequence(WINDOW_S)
    passed_at_s = {}
    for order in range(30):
        now_s = order / 30
        deadline_s = sequence.deadline_s()
        if deadline_s is not None and deadline_s <= now_s:
            passed_at_s |= dict.fromkeys(sequence.expire(deadline_s), deadline_s)
        passed_at_s |= dict.fromkeys(sequence.push(order, order, now_s), now_s)
    waits_s = {order: at_s - order / 30 for order, at_s in passed_at_s.items()}
    assert waits_s[0] == WINDOW_S
    assert {order for order, wait_s in waits_s.items() if wait_s > 0} == {0, 1, 2}
    assert len(waits_s) == 30


def test_without_a_window_nothing_waits() -> None:
    sequence: Sequence[int] = Sequence(0.0)
    assert [sequence.push(order, order, 0.0) for order in (5, 7, 6)] == [[5], [7], []]


def test_a_repeat_is_late() -> None:
    sequence: Sequence[str] = Sequence(WINDOW_S)
    sequence.push(1, "first", -1.0)
    assert sequence.expire(0.0) == ["first"]
    assert sequence.push(1, "again", 0.0) == []
    sequence.push(3, "held", 0.0)
    assert sequence.push(3, "again", 0.0) == []
    assert sequence.late == 2
    assert sequence.expire(0.1) == ["held"]


def test_higher_numbers_after_a_restart_of_redis() -> None:
    sequence = running(1_000)
    assert sequence.push(5_000_000, 2, 1.0) == []
    assert sequence.expire(1.0 + WINDOW_S) == [2]
    assert sequence.push(5_000_001, 3, 1.2) == [3]


def test_numbers_that_began_again_pass_after_a_while() -> None:
    sequence = running(999)
    sequence.push(1_000, 1, 0.0)
    assert sequence.push(5, 2, RESET_AFTER_S - 0.1) == []
    assert sequence.push(6, 3, RESET_AFTER_S) == []
    assert sequence.push(7, 4, RESET_AFTER_S + WINDOW_S) == [3, 4]
    assert sequence.late == 1


def test_holds_a_bounded_number_and_size() -> None:
    sequence: Sequence[int] = Sequence(1000.0)
    passed = [item for order in range(2, 500) for item in sequence.push(order * 2, order, 0.0)]
    assert len(sequence) <= 64
    assert passed == sorted(passed)
    tombstones: Sequence[int] = Sequence(1000.0)
    for order in range(0, 1000, 2):
        assert tombstones.skip(order, 0.0) == []
    assert len(tombstones) <= 64
    big: Sequence[int] = Sequence(1000.0)
    for order in range(0, 40, 2):
        big.push(order, order, 0.0, size_bytes=4 * 1024 * 1024)
    assert len(big) <= 4


class TestTombstones:
    """A tombstone fills its place, and nothing waits for it."""

    def test_the_successor_passes_at_once(self) -> None:
        sequence = running(1)
        assert sequence.skip(2, 0.0) == []
        assert sequence.push(3, 3, 0.0) == [3]
        assert sequence.deadline_s() is None

    def test_a_waiting_successor_passes_with_the_tombstone(self) -> None:
        sequence = running(1)
        assert sequence.push(4, 4, 0.0) == []
        assert sequence.skip(3, 0.01) == []
        assert sequence.skip(2, 0.02) == [4]
        assert (sequence.deadline_s(), sequence.late) == (None, 0)

    def test_a_tombstone_does_not_fix_the_start(self) -> None:
        sequence: Sequence[int] = Sequence(WINDOW_S)
        assert sequence.skip(5, 0.0) == []
        assert sequence.push(4, 4, 0.05) == []
        assert sequence.push(6, 6, 0.06) == []
        assert sequence.expire(0.05 + WINDOW_S) == [4, 6]

    def test_a_tombstone_does_not_replace_what_has_passed_or_waits(self) -> None:
        sequence = running(1)
        sequence.push(3, 3, 0.0)
        assert sequence.skip(1, 0.0) == []
        assert sequence.skip(3, 0.0) == []
        assert sequence.push(2, 2, 0.0) == [2, 3]
        assert sequence.late == 0

    def test_one_that_overtakes_slow_results_makes_none_late(self) -> None:
        """A pod finds a broken frame at once, while those before it take longer than the window."""
        sequence = running(1)
        assert sequence.skip(4, 0.0) == []
        assert (sequence.deadline_s(), sequence.expire(10 * WINDOW_S)) == (None, [])
        assert sequence.push(2, 2, 10 * WINDOW_S) == [2]
        assert sequence.push(3, 3, 10 * WINDOW_S) == [3]
        assert sequence.push(5, 5, 10 * WINDOW_S) == [5]
        assert sequence.late == 0

    def test_a_lost_predecessor_is_waited_for_despite_a_tombstone_behind_it(self) -> None:
        sequence = running(1)
        sequence.skip(3, 0.0)
        assert sequence.push(4, 4, 0.05) == []
        assert sequence.expire(0.05 + WINDOW_S) == [4]

    def test_one_that_is_left_over_does_not_stop_a_new_count(self) -> None:
        sequence = running(1_000)
        sequence.skip(1_002, 0.0)
        assert sequence.push(5, 5, RESET_AFTER_S) == []
        assert sequence.push(6, 6, RESET_AFTER_S + WINDOW_S) == [5, 6]


class TestIdentity:
    """`order` may repeat after a failover: its identity shows whether it is the same frame."""

    @staticmethod
    def numbered(*orders: int) -> Sequence[str]:
        sequence: Sequence[str] = Sequence(WINDOW_S)
        for order in orders:
            sequence.push(order, f"old {order}", -1.0, identity=("old", order))
        sequence.expire(0.0)
        return sequence

    def test_the_same_frame_again_is_dropped(self) -> None:
        sequence = self.numbered(1, 2, 3)
        assert sequence.push(3, "again", 0.0, identity=("old", 3)) == []
        assert sequence.late == 1

    def test_a_new_frame_with_a_used_number_starts_again(self) -> None:
        sequence = self.numbered(*range(1, 10))
        assert sequence.push(7, "new 7", 0.0, identity=("new", 7)) == []
        assert sequence.push(6, "new 6", 0.04, identity=("new", 6)) == []
        assert sequence.push(8, "new 8", 0.06, identity=("new", 8)) == []
        assert sequence.expire(WINDOW_S) == ["new 6", "new 7", "new 8"]
        assert sequence.push(9, "new 9", 0.12, identity=("new", 9)) == ["new 9"]
        assert sequence.late == 0

    def test_what_was_held_passes_before_the_new_start(self) -> None:
        sequence = self.numbered(1, 2, 3)
        assert sequence.push(5, "old 5", 0.0, identity=("old", 5)) == []
        assert sequence.push(5, "new 5", 0.01, identity=("new", 5)) == ["old 5"]
        assert sequence.expire(0.2) == ["new 5"]

    @pytest.mark.parametrize("identity", [None, ("new", 3)])
    def test_without_an_identity_a_repeat_is_late(self, identity: tuple[str, int] | None) -> None:
        sequence = running(3)
        assert sequence.push(3, 3, 0.0, identity=identity) == []
        assert sequence.late == 1


class Recorder:
    """A sequence with its timer: what passed and when."""

    def __init__(self) -> None:
        self.sequence: Sequence[tuple[int, float]] = Sequence(WINDOW_S)
        self.passed: list[tuple[int, float, float]] = []

    def run_until(self, now_s: float) -> None:
        """Lets the timer fire."""
        while (deadline_s := self.sequence.deadline_s()) is not None and deadline_s <= now_s:
            self._keep(self.sequence.expire(deadline_s), deadline_s)

    def push(self, order: int, now_s: float, identity: object = None) -> None:
        """One item."""
        self.run_until(now_s)
        self._keep(self.sequence.push(order, (order, now_s), now_s, identity=identity), now_s)

    def skip(self, order: int, now_s: float) -> None:
        """One tombstone."""
        self.run_until(now_s)
        self._keep(self.sequence.skip(order, now_s), now_s)

    def orders(self) -> list[int]:
        """The numbers that passed, in the order in which they did."""
        return [order for order, _, _ in self.passed]

    def longest_wait_s(self) -> float:
        """The longest wait of all items that passed."""
        return max((passed_s - pushed_s for _, pushed_s, passed_s in self.passed), default=0.0)

    def _keep(self, items: list[tuple[int, float]], now_s: float) -> None:
        self.passed += [(order, pushed_s, now_s) for order, pushed_s in items]


arrivals = st.lists(st.tuples(st.integers(0, 60), st.floats(0, 0.08), st.booleans()), max_size=120)


@given(arrivals)
def test_whatever_arrives(steps: list[tuple[int, float, bool]]) -> None:
    recorder = Recorder()
    now_s, pushed = 0.0, 0
    for order, pause_s, is_tombstone in steps:
        now_s += pause_s
        if is_tombstone:
            recorder.skip(order, now_s)
        else:
            recorder.push(order, now_s)
            pushed += 1
    recorder.run_until(1e9)
    orders = recorder.orders()
    assert orders == sorted(set(orders)), "only rising numbers may pass"
    assert recorder.longest_wait_s() <= WINDOW_S + 1e-9, "nothing waits longer than the window"
    assert len(orders) + recorder.sequence.late == pushed, "each item passes or is counted"


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 0.08), st.sampled_from(["old", "new", None]))))
def test_whatever_identities_arrive(steps: list[tuple[int, float, str | None]]) -> None:
    recorder = Recorder()
    now_s = 0.0
    for order, pause_s, identity in steps:
        now_s += pause_s
        recorder.push(order, now_s, identity)
    recorder.run_until(1e9)
    assert recorder.longest_wait_s() <= WINDOW_S + 1e-9
    assert len(recorder.passed) + recorder.sequence.late == len(steps)


@given(st.integers(0, 2**32), st.integers(1, 5), st.floats(0, 0.5))
def test_nothing_is_lost_from_the_first_result_on(seed: int, pods: int, broken: float) -> None:
    """Pods that finish out of order, each within the window, some frames broken: every good one passes, in order."""
    generator = random.Random(seed)  # noqa: S311  no secret
    events = sorted((0.033 * n + generator.uniform(0, 0.09 if pods > 1 else 0), n) for n in range(60))
    good = {n for n in range(60) if generator.random() >= broken}
    recorder = Recorder()
    for at_s, order in events:
        if order in good:
            recorder.push(order, at_s)
        else:
            recorder.skip(order, at_s)
    recorder.run_until(1e9)
    assert recorder.orders() == sorted(good)
    assert recorder.sequence.late == 0


@pytest.mark.parametrize("seed", range(20))
def test_two_pods_40_to_120_ms_apart(seed: int) -> None:
    """A viewer that joins in the middle: none of 179 results is late, as long as the window covers the difference."""
    generator = random.Random(seed)  # noqa: S311  no secret
    events = sorted((order / 30 + generator.uniform(0.04, 0.12), order) for order in range(200))
    recorder = Recorder()
    for at_s, order in [event for event in events if event[0] >= 0.5]:
        recorder.push(order, at_s)
    recorder.run_until(1e9)
    assert recorder.sequence.late == 0
    assert recorder.orders() == sorted(recorder.orders())
