"""The load meter alone: what pops and broken frames do to its samples."""

from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry
from tests.support.pod_parts import popped

from elastic_inference.adapters.frame_queue import PopBatch
from elastic_inference.adapters.frame_queue.pop_batch import InvalidFrame
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason
from elastic_inference.flows.inference.demand import DemandReading
from elastic_inference.flows.inference.load_meter import LoadMeter
from elastic_inference.flows.inference.utilisation import ClaimedDrops, LoadReading, LoadSample, Utilisation


class LoadedEngine:
    """An engine with a fixed load."""

    def __init__(self, busy_s: float | None = None) -> None:
        self.on_cpu = busy_s is None
        self._busy_s = busy_s or 0.0

    def busy_s(self) -> float:
        return self._busy_s


class Samples(Utilisation):
    """Keeps the samples it is given."""

    def __init__(self) -> None:
        super().__init__(5.0, fixed=1.0, first_available=1.0, first_fps=100.0)
        self.seen: list[LoadSample] = []

    def add(self, sample: LoadSample, demand: DemandReading | None = None) -> LoadReading:
        self.seen.append(sample)
        return super().add(sample, demand)


def meter(engine: LoadedEngine | None = None, cpu_s: float = 10.0) -> tuple[LoadMeter, Samples]:
    metrics = InferenceMetrics(CollectorRegistry(), "face", "model")
    return LoadMeter(engine or LoadedEngine(), ClaimedDrops(5.0, 1.0), metrics, lambda: cpu_s), Samples()


def pop(meter: LoadMeter, batch: PopBatch, at_s: float, took_s: float = 0.01) -> None:
    meter.pop_begins(at_s - took_s)
    meter.pop_ends(batch, at_s)


def test_a_pod_waits_for_frames_where_a_pop_brings_only_fresh_ones() -> None:
    load, samples = meter()
    pop(load, PopBatch([popped(1, queue_ms=1.0)]), 100.0)
    load.measure(samples, 100.5, 1)
    pop(load, PopBatch([popped(2, queue_ms=50.0)]), 101.0)
    load.measure(samples, 101.0, 2)
    pop(load, PopBatch([popped(3, queue_ms=1.0)], waiting=5), 101.4)
    load.measure(samples, 101.5, 3)
    assert [sample.waited for sample in samples.seen] == [False, True, True]


def test_a_pop_that_takes_long_is_a_wait_for_frames() -> None:
    load, samples = meter()
    load.pop_begins(100.0)
    load.measure(samples, 100.1, 0)
    load.measure(samples, 100.5, 0)
    load.pop_fails()
    load.measure(samples, 101.0, 0)
    assert [sample.waited for sample in samples.seen] == [True, False, True]


def test_only_drops_for_lack_of_capacity_count_towards_the_rate() -> None:
    load, samples = meter()
    pop(load, PopBatch(dropped=Counter({DropReason.STALE: 1000})), 100.0)
    load.measure(samples, 100.0, 0)
    drops = {DropReason.STALE: 1, DropReason.QUEUE_FULL: 2, DropReason.QUEUE_MEMORY: 4, DropReason.SOURCE: 8}
    pop(load, PopBatch(dropped=Counter(drops)), 100.2)
    load.measure(samples, 100.5, 0)
    assert [sample.dropped for sample in samples.seen] == [0, 3]
    assert load.reading is not None
    assert load.reading.drop_fps > 0


def test_the_cpu_time_of_broken_frames_is_left_out() -> None:
    load, samples = meter(cpu_s=10.0)
    broken = InvalidFrame("cam", InvalidFrameError(InvalidReason.EMPTY, "empty"))
    load.pop_costs(PopBatch([popped(1)], invalid=[broken]), 0.2)
    load.frame_wasted(0.4)
    load.measure(samples, 100.0, 1)
    # The invalid message: its 0.1 s of the pop. The broken frame: 0.4 s in the worker, and its 0.1 s of the pop.
    assert samples.seen[0].wasted_s == 0.1 + 0.4 + 0.1
    assert samples.seen[0].used_s == 10.0 - samples.seen[0].wasted_s


def test_an_accelerator_is_measured_by_its_own_load() -> None:
    load, samples = meter(LoadedEngine(busy_s=3.0))
    load.frame_wasted(0.4)
    load.measure(samples, 100.0, 7)
    assert samples.seen == [LoadSample(100.0, 3.0, 7, 0, waited=True, wasted_s=0.0)]
