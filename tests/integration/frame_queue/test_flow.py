"""What pods learn from a pop about the frames of all pods: arrivals of a type, and their own share of them."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.frame_queue import PopBatch
from elastic_inference.domain import keys
from elastic_inference.flows.inference.demand import FlowCounter
from tests.support.queue_bench import TYPE, QueueBench


class Pod:
    """One pod's consumer and its count of the flow."""

    def __init__(self, bench: QueueBench, name: str) -> None:
        self._bench, self._name, self._at_s = bench, name, 0.0
        self.counter = FlowCounter(5.0)

    def pop(self, count: int = 16) -> PopBatch:
        self._at_s += 0.1
        batch = self._bench.pop(count, pod=self._name)
        own = len(batch.frames) + len(batch.invalid)
        self.counter.add(self._at_s, own, sum(batch.dropped.values()), batch.waiting, batch.totals)
        return batch

    def seen(self) -> tuple[float, float, float]:
        """(arrived, popped by all, popped by this one) since the first pop."""
        flow = self.counter.flow
        return flow.arrived, flow.popped, flow.own


@pytest.fixture(name="pods")
def two_pods(bench: QueueBench) -> tuple[Pod, Pod]:
    pods = Pod(bench, "pod-1"), Pod(bench, "pod-2")
    for pod in pods:
        pod.pop()
    return pods


def test_pods_agree_on_what_arrives_and_each_knows_its_share(bench: QueueBench, pods: tuple[Pod, Pod]) -> None:
    for name in ("cam-1", "cam-2", "cam-3"):
        bench.push(name, 4)
    pods[0].pop(3)
    bench.push("cam-4", 4)
    pods[1].pop(2)
    pods[0].pop(1)
    assert pods[0].seen() == (16, 6, 4)
    assert pods[1].seen() == (16, 5, 2)
    pods[1].pop(1)
    assert pods[1].seen() == (16, 7, 3)


def test_drops_are_seen_by_the_pods_that_did_not_claim_them(bench: QueueBench, pods: tuple[Pod, Pod]) -> None:
    bench.push("cam-1", 10)  # 4 wait, 6 are dropped
    pods[0].pop(1)
    pods[1].pop(1)
    assert [pod.seen() for pod in pods] == [(10, 1, 1), (10, 2, 1)]


def test_stale_frames_count_once(bench: QueueBench, pods: tuple[Pod, Pod]) -> None:
    bench.push("cam-1", 3)
    pods[0].pop(1)
    bench.make_stale("cam-1", 2)
    pods[1].pop()
    pods[0].pop()
    assert [pod.seen() for pod in pods] == [(3, 1, 1), (3, 1, 0)]


def test_legacy_frames_count_as_well(bench: QueueBench, pods: tuple[Pod, Pod]) -> None:
    bench.push_legacy("old", 6)
    pods[0].pop(2)
    pods[0].pop(2)
    pods[0].pop(0)  # reports what was taken
    pods[1].pop(2)
    own, others = pods[0].counter.flow.own, pods[1].counter.flow.own
    assert own > 0
    assert others > 0
    assert pods[0].seen() == (6, own, own)
    assert pods[1].seen() == (6, own + others, others)


def test_counters_that_are_lost_begin_anew(bench: QueueBench, pods: tuple[Pod, Pod]) -> None:
    bench.push("cam-1", 2)
    pods[0].pop()
    bench.redis.delete(keys.flow(TYPE))
    bench.push("cam-1", 2)
    pods[0].pop()
    bench.push("cam-1", 2)
    pods[1].pop()
    pods[0].pop()
    assert pods[0].seen() == (6, 6, 4)
    assert 0 < bench.redis.pttl(keys.flow(TYPE)) <= 600_000


def test_the_counters_live_as_long_as_frames_or_drops_are_counted(bench: QueueBench, pods: tuple[Pod, Pod]) -> None:
    flow = keys.flow(TYPE)

    def aged() -> None:
        bench.redis.pexpire(flow, 50_000)

    aged()
    for _ in range(16):
        bench.push("cam-1", 4)
        pods[0].pop(4)
    assert bench.redis.pttl(flow) > 500_000, "each 64th frame renews it"
    aged()
    bench.push_legacy("old", 4)
    for _ in range(2):
        pods[0].pop(2)
    pods[0].pop(0)
    assert bench.redis.pttl(flow) > 500_000, "so do legacy frames"
    bench.redis.delete(flow)
    pods[0].pop()
    assert 0 < bench.redis.pttl(flow) <= 600_000, "a pop without a frame leaves no key for ever"
    bench.redis.delete(flow)
    bench.push("cam-1", 10)  # 4 wait, 6 are dropped
    pods[0].pop(0)
    assert 0 < bench.redis.pttl(flow) <= 600_000, "nor does one that only claims drops"


def test_counters_that_become_too_large_begin_anew(bench: QueueBench, pods: tuple[Pod, Pod]) -> None:
    bench.redis.hset(keys.flow(TYPE), "total", (1_000_000 << 32) + 7)
    bench.push("cam-1", 10)  # 4 wait, 6 are dropped
    assert pods[0].pop(1).totals == (8, 1_000_006)
    assert pods[1].pop(1).totals == (1, 0)
    assert pods[0].pop(1).totals == (2, 0)
    assert 0 < bench.redis.pttl(keys.flow(TYPE)) <= 600_000


@pytest.mark.parametrize("value", ["x", "-5", str(2**63 - 1)])
def test_a_foreign_value_of_the_counters_is_replaced(bench: QueueBench, pods: tuple[Pod, Pod], value: str) -> None:
    bench.redis.hset(keys.flow(TYPE), "total", value)
    bench.push("cam-1", 4)
    bench.pop(1)
    assert pods[0].pop(1).totals == (1, 0)
    assert pods[1].pop(1).totals == (2, 0)
