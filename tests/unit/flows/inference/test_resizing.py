"""What a running pod does when its CPU quota changes: with a real model, and a quota file that the test writes."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.pod_parts import STREAM, Parts, popped
from tests.support.system_tree import QuotaFile
from tests.support.waiting import wait_for

from elastic_inference.base.cpu_quota import CpuWatch
from elastic_inference.flows.inference.adapters import AdapterOptions
from elastic_inference.flows.inference.engine import SPARE_REQUESTS, Engine, compile_engine
from elastic_inference.flows.inference.frame_detector import make_detectors
from elastic_inference.flows.inference.ordering import Slot
from elastic_inference.flows.inference.resizing import CpuFollower, PodCpu
from elastic_inference.flows.inference.result_builder import PodInfo, ResultBuilder
from elastic_inference.flows.inference.runtime import make_core
from elastic_inference.flows.inference.task_queue import Task, frames_ahead
from elastic_inference.flows.inference.utilisation import Utilisation
from elastic_inference.flows.inference.workers import WorkerPool

needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core needs one stream")
MIB = 1 << 20


class Resized:
    """A pod's workers and a follower, under a quota of half a core at first."""

    def __init__(self, folder: Path, models: Path, model_bytes: int) -> None:
        self._quota = QuotaFile(folder, 0.5)
        watch = CpuWatch(folder)
        path = models / "face-detection-retail-0005" / "FP32" / "face-detection-retail-0005.xml"
        self.engine = compile_engine(make_core(watch.allowance), path, None, AdapterOptions(), "CPU")
        self.utilisation = Utilisation(5.0, fixed=0.5, first_available=0.5, first_fps=50)
        self.parts = Parts()
        results = ResultBuilder(PodInfo("face", "pod", "model", "FP32"), self.engine, lambda _: None)
        detectors = make_detectors(self.engine, 0.5)
        self.workers = WorkerPool(detectors, results, self.parts.context, self.parts.sender)
        self.tuned: list[tuple[int, float]] = []
        self.follower = CpuFollower(
            PodCpu(watch, model_bytes),
            self.engine,
            self.workers,
            self.parts.context,
            make_detectors=lambda: make_detectors(self.engine, 0.5),
            tune=lambda workers, fps: self.tuned.append((workers, fps)),
        )
        self._now_s = 0.0

    def quota(self, cores: float) -> None:
        """Changes the quota, and lets the pod see it."""
        self._quota.set(cores)
        self.look()

    def look(self, after_s: float = 10.0) -> None:
        """What the pod's main thread does twice a second."""
        self._now_s += after_s
        self.follower.look(self.utilisation, self._now_s)

    def runs(self, streams: int) -> bool:
        """Whether workers for this many streams run, after another look."""
        self.look()
        return self.workers.running == streams + SPARE_REQUESTS


@contextmanager
def resized(folder: Path, models: Path, model_bytes: int = MIB) -> Iterator[Resized]:
    pod = Resized(folder, models, model_bytes)
    with pod.parts:
        pod.workers.start()
        try:
            yield pod
        finally:
            pod.follower.close(60)
            pod.workers.join()


@needs_two_cores
def test_a_pod_that_grows_gets_streams_and_workers_and_one_that_shrinks_gives_workers_back(
    tmp_path: Path, shared_models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with resized(tmp_path, shared_models) as pod:
        pod.quota(0.8)
        assert pod.workers.running == 1 + SPARE_REQUESTS
        assert pod.utilisation.capacity_fps == pytest.approx(80)
        pod.quota(1.5)
        assert pod.tuned[-1] == (1 + SPARE_REQUESTS, pytest.approx(150))
        wait_for(lambda: pod.runs(2), 60, "two streams")
        assert pod.engine.streams == 2
        assert pod.tuned[-1] == (2 + SPARE_REQUESTS, pytest.approx(150))
        assert pod.parts.context.meter._wasted_s > 0, "compiling is no load"
        pod.quota(0.5)
        assert pod.workers.running == 1 + SPARE_REQUESTS
        assert pod.utilisation.capacity_fps == pytest.approx(50)
        pod.quota(2.0)
        # The worker that was told to end has to do so first.
        wait_for(lambda: pod.runs(2), what="another worker")
        assert pod.engine.streams == 2
    assert not pod.parts.lifecycle.stopping
    assert sum("compiled again" in each.message for each in caplog.records) == 1


def test_a_pod_that_turns_out_to_be_faster_or_slower_pops_more_or_fewer_frames_at_a_time(
    tmp_path: Path, shared_models: Path
) -> None:
    with resized(tmp_path, shared_models) as pod:
        tasks = pod.parts.context.tasks
        pod.look()
        assert tasks.ahead == frames_ahead(50)
        pod.utilisation.scale(0.25)
        pod.look()
        assert tasks.ahead == frames_ahead(200)
        tasks.add([Task(popped(order), STREAM, Slot(STREAM)) for order in range(4)])
        assert tasks.wait_for_room(0.0), "half of what a pop returns still waits"
        pod.utilisation.scale(8)
        pod.look()
        assert tasks.ahead == frames_ahead(25)


@needs_two_cores
@pytest.mark.parametrize("cause", ["memory", "OpenVINO"])
def test_a_pod_that_cannot_compile_continues_as_it_is_and_tries_once(
    tmp_path: Path, shared_models: Path, caplog: pytest.LogCaptureFixture, cause: str
) -> None:
    with resized(tmp_path, shared_models, (1 << 40) if cause == "memory" else MIB) as pod:
        if cause == "OpenVINO":
            pod.engine._config["PERFORMANCE_HINT"] = "NONSENSE"
        pod.quota(1.5)
        wait_for(lambda: len(caplog.records) == 1, 60, "a warning")
        wait_for(lambda: not any(each.name == "compile" for each in threading.enumerate()), what="its end")
        for _ in range(3):
            pod.look()
        assert pod.workers.running == 1 + SPARE_REQUESTS
        assert pod.utilisation.available == 1.5
    expected = {"memory": "Raise its memory limit", "OpenVINO": "could not be compiled for a quota of 1.5"}
    assert [expected[cause] in each.message for each in caplog.records] == [True]


def test_an_accelerator_does_not_follow_the_quota(tmp_path: Path, shared_models: Path) -> None:
    with resized(tmp_path, shared_models) as pod:
        engine: Engine = pod.engine
        engine.devices = ("GPU.0",)
        pod.quota(2.0)
        assert pod.workers.running == 1 + SPARE_REQUESTS
        assert pod.utilisation.available == 0.5
