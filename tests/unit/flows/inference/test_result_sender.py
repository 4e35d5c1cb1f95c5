"""The result sender alone: order, gathering, tombstones, a broker that is unavailable, and the drain."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set

import pytest
from redis.exceptions import ConnectionError
from tests.support.pod_parts import STREAM, Parts, outgoing
from tests.support.waiting import wait_for

from elastic_inference.domain.sequence import Tombstone
from elastic_inference.flows.inference import result_sender as module
from elastic_inference.flows.inference.result_sender import LOST, MAX_TOMBSTONES
from elastic_inference.flows.inference.task_queue import Outgoing


def test_results_leave_in_the_order_of_their_stream() -> None:
    parts = Parts()
    tasks = {task.popped.order: task for task in parts.add(1, 2, 3)}
    with parts:
        for order in (3, 1, 2):
            parts.sender.finish(tasks[order].slot, outgoing(order))
    assert parts.publisher.orders == [1, 2, 3]
    assert parts.metric("ei_frames_inferred_total") == 3
    assert parts.tasks.in_hand == 0
    assert parts.publisher.removed


def test_the_first_frames_of_which_an_event_may_come_are_kept() -> None:
    parts = Parts()
    with parts:
        parts.finish(1)
        wait_for(lambda: parts.publisher.orders == [1], what="a result while no event service runs")
        assert not parts.recent.on
        parts.publisher.events_run = True
        parts.finish(2)
        wait_for(lambda: parts.publisher.orders == [1, 2], what="the first result for event workers")
    assert [parts.recent.find(STREAM, order) is not None for order in (1, 2)] == [False, True]


def test_results_that_come_fast_are_published_together() -> None:
    parts = Parts(ahead=16)
    with parts:
        parts.finish(*range(16))
    assert parts.publisher.orders == list(range(16))
    assert len(parts.publisher.batches) <= 3


def test_a_frame_without_a_result_leaves_a_tombstone_and_delays_no_other() -> None:
    parts = Parts()
    first, second = parts.add(1, 2)
    grave = Tombstone(STREAM, 1, "truncated")
    with parts:
        parts.sender.finish(second.slot, outgoing(2))
        parts.sender.discard(first.slot, grave, first.size)
        wait_for(lambda: parts.publisher.orders == [2], what="the second frame's result")
        parts.sender.bury([Tombstone(STREAM, 3, "stale")])
        wait_for(lambda: len(parts.publisher.tombstones) == 2, what="a tombstone without a result beside it")
    assert parts.publisher.tombstones == [grave, Tombstone(STREAM, 3, "stale")]
    assert parts.tasks.in_hand == 0


def test_a_tombstone_waits_for_no_frame_before_it() -> None:
    parts = Parts()
    first, second = parts.add(1, 2)
    with parts:
        parts.sender.discard(second.slot, Tombstone(STREAM, 2, "truncated"), second.size)
        wait_for(lambda: parts.publisher.tombstones, what="the tombstone")
        assert parts.publisher.orders == []
        parts.sender.finish(first.slot, outgoing(1))
    assert parts.publisher.orders == [1]


def test_a_broker_that_comes_back_gets_everything() -> None:
    parts = Parts()
    parts.publisher.errors = [ConnectionError("refused")] * 2
    with parts:
        parts.sender.bury([Tombstone(STREAM, 0, "truncated")])
        parts.finish(1)
        wait_for(lambda: parts.publisher.orders == [1], what="the result")
        wait_for(lambda: "broker" not in parts.lifecycle.missing(), what="readiness")
    assert parts.publisher.tombstones == [Tombstone(STREAM, 0, "truncated")]
    assert parts.metric("ei_frames_lost_total") == 0


def test_what_cannot_be_published_in_time_is_lost_and_leaves_tombstones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISH_LIMIT_S", 0.0)
    parts = Parts()
    parts.publisher.errors = [ConnectionError("refused")]
    parts.finish(1, 2)
    with parts:
        wait_for(lambda: parts.publisher.tombstones, what="the tombstones")
    assert parts.publisher.orders == []
    assert parts.publisher.tombstones == [Tombstone(STREAM, 1, LOST), Tombstone(STREAM, 2, LOST)]
    assert parts.metric("ei_frames_lost_total") == 2
    assert parts.tasks.in_hand == 0


def test_a_bug_in_the_publisher_loses_its_batch_only() -> None:
    parts = Parts()
    parts.publisher.errors = [ValueError("a bug")]
    with parts:
        parts.finish(1)
        wait_for(lambda: parts.metric("ei_frames_lost_total") == 1, what="the loss")
        parts.finish(2)
    assert parts.publisher.orders == [2]


def test_a_drain_with_the_broker_unavailable_ends() -> None:
    parts = Parts()
    parts.publisher.errors = [ConnectionError("refused")] * 1000
    parts.finish(1)
    parts.sender.drain(time.monotonic() - 10)
    parts.start()
    parts.end()
    assert parts.metric("ei_frames_lost_total") == 1


def test_tombstones_are_bounded_while_nothing_can_be_sent() -> None:
    parts = Parts()
    parts.sender.bury([Tombstone(STREAM, order, "stale") for order in range(MAX_TOMBSTONES + 10)])
    with parts:
        wait_for(lambda: parts.publisher.tombstones, what="the tombstones")
    assert [each.order for each in parts.publisher.tombstones] == list(range(10, MAX_TOMBSTONES + 10))


def test_tombstones_alone_do_not_make_the_broker_ready() -> None:
    parts = Parts()
    parts.report_error = ConnectionError("refused")
    with parts:
        parts.sender.bury([Tombstone(STREAM, 1, "stale")])
        wait_for(lambda: parts.publisher.tombstones and parts.reports, what="the tombstone and a report")
        parts.sender.bury([Tombstone(STREAM, 2, "stale")])
        wait_for(lambda: len(parts.publisher.tombstones) == 2, what="another one")
    assert "refused" in parts.lifecycle.missing()["broker"]


def test_the_pod_is_reported_without_any_frame() -> None:
    parts = Parts()
    with parts:
        wait_for(lambda: parts.reports >= 2, what="two reports")


def test_results_that_redis_refuses_to_keep_are_lost_and_not_inferred() -> None:
    parts = Parts(ahead=4)
    parts.publisher.refused = {0, 2}
    tasks = parts.add(1, 2, 3, 4)
    for task in tasks:
        parts.sender.finish(task.slot, outgoing(task.popped.order))
    with parts:
        wait_for(lambda: parts.tasks.in_hand == 0, what="the results to be sent")
    assert parts.metric("ei_frames_lost_total") == 2
    assert parts.metric("ei_frames_inferred_total") == 2


def test_results_of_a_process_that_was_stopped_are_stale_and_counted() -> None:
    parts = Parts(fresh_s=3.0)
    old, older, fresh = parts.add(1, 2, 3)
    now_s = time.monotonic()
    with parts:
        parts.sender.finish(old.slot, outgoing(1), now_s - 30.0)
        parts.sender.finish(older.slot, outgoing(2), now_s - 31.0)
        parts.sender.finish(fresh.slot, outgoing(3), now_s)
        wait_for(lambda: parts.publisher.orders == [3], what="the fresh result")
    assert parts.publisher.tombstones == [Tombstone(STREAM, 1, "stale"), Tombstone(STREAM, 2, "stale")]
    assert parts.metric("ei_frames_dropped_total", reason="stale") == 2
    assert parts.metric("ei_frames_inferred_total") == 1
    assert parts.metric("ei_frames_lost_total") == 0
    assert (parts.tasks.in_hand, parts.tasks._bytes) == (0, 0)


def test_results_that_waited_for_the_broker_are_not_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(fresh_s=1.0)
    publish = parts.publisher.publish

    def slow(batch: Sequence[Outgoing], tombstones: Sequence[Tombstone] = ()) -> Set[int]:
        if not parts.publisher.batches:
            second, now_s = parts.add(2)[0], time.monotonic()
            parts.sender.finish(second.slot, outgoing(2), now_s)
            time.sleep(1.2)
        return publish(batch, tombstones)

    monkeypatch.setattr(parts.publisher, "publish", slow)
    with parts:
        parts.finish(1)
        wait_for(lambda: parts.publisher.orders == [1, 2], what="both results")
    assert parts.metric("ei_frames_dropped_total", reason="stale") == 0


def test_a_process_that_is_stopped_between_two_tries_does_not_publish_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PUBLISH_LIMIT_S", 0.05)
    parts = Parts()
    parts.publisher.errors = [ConnectionError("refused")]
    parts.finish(1)
    with monkeypatch.context() as patch:
        # As if the process were stopped in this pause.
        patch.setattr(module.time, "sleep", lambda _s, sleep=time.sleep: sleep(1.3))
        with parts:
            wait_for(lambda: parts.metric("ei_frames_lost_total") == 1, what="the loss")
    assert parts.publisher.orders == []
