"""A change of models between two frames, and the way back if the new one fails on real frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.support.pod_parts import IdleEngine, Parts
from tests.support.results import PERSON
from tests.support.waiting import wait_for

from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.base.model_metrics import ModelMetrics
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.image_size import ModelSize
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.engine import SPARE_REQUESTS
from elastic_inference.flows.inference.model_exchange import PROBATION_S, ModelExchange
from elastic_inference.flows.inference.result_builder import PodInfo, ResultBuilder
from elastic_inference.flows.inference.utilisation import Utilisation
from elastic_inference.flows.inference.workers import WorkerPool

WORKERS = 1 + SPARE_REQUESTS


class Finder:
    """A detector that finds a person, or fails."""

    damaged = False

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    def infer(self, frame: Frame) -> list[Detection]:
        if self.fails:
            raise RuntimeError("OpenVINO fails")
        return [PERSON]


@dataclass
class Model:
    """What the exchange asks of a `RunningModel`."""

    info: PodInfo
    spec: Any = None
    engine: Any = field(default_factory=IdleEngine)
    compiled_for: CpuAllowance = field(default_factory=lambda: CpuAllowance(None, 1))
    make_detectors: Any = list
    model_bytes: int = 1
    size: ModelSize = field(default_factory=lambda: ModelSize(300, 300, letterbox=False))


def model_of(name: str) -> Model:
    return Model(PodInfo("face", "pod", name, "FP32"))


class Follower:
    """What the exchange asks of a `CpuFollower`, and of a consumer."""

    compiling = False

    def __init__(self) -> None:
        self.engines: list[Any] = []
        self.sizes: list[ModelSize] = []

    def wanted(self, streams: int) -> int:
        return streams + SPARE_REQUESTS

    def adopt(self, engine: Any, *_: object) -> None:
        self.engines.append(engine)

    def need_size(self, size: ModelSize) -> None:
        self.sizes.append(size)


class Pod:
    """Workers with the model `old`, and an exchange."""

    def __init__(self) -> None:
        self.parts = Parts(ahead=64)
        self.old, self.new = model_of("old"), model_of("new")
        results = ResultBuilder(self.old.info, self.old.engine, lambda _: None)
        self.workers = WorkerPool([Finder() for _ in range(WORKERS)], results, self.parts.context, self.parts.sender)
        self.follower: Any = Follower()
        self.registry = CollectorRegistry()
        running: Any = self.old
        self.exchange = ModelExchange(
            running,
            self.workers,
            consumer=self.follower,
            follower=self.follower,
            meter=self.parts.context.meter,
            metrics=InferenceMetrics(self.registry, "face", "old"),
            models=ModelMetrics(self.registry, "face"),
            server_ms=lambda _: None,
            tune=lambda *_: None,
        )
        self.utilisation = Utilisation(5, fixed=1.0, first_available=1.0, first_fps=100)

    def offer(self, *, fails: bool) -> None:
        """Offers the new model, which is half as fast, and takes it."""
        model: Any = self.new
        detectors: Any = [Finder(fails=fails) for _ in range(WORKERS)]
        self.exchange.offer(model, detectors, 2.0)
        self.exchange.look(self.utilisation, 10.0)

    def infer(self, *orders: int) -> None:
        """Lets the workers have these frames."""
        done = self.workers.inferred + self.workers.failed + len(orders)
        self.parts.add(*orders)
        wait_for(lambda: self.workers.inferred + self.workers.failed == done, what="the frames to be inferred")

    @property
    def shown(self) -> list[str]:
        """The models that the metrics name as running."""
        return [
            sample.labels["model"]
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "ei_model_info"
        ]


@pytest.fixture
def pod() -> Any:
    found = Pod()
    with found.parts:
        found.workers.start()
        yield found
        found.workers.join()


def test_frames_suit_a_model_under_trial_too(pod: Pod) -> None:
    pod.exchange.try_size(ModelSize(416, 16, letterbox=True))
    pod.exchange.try_size(None)
    assert pod.follower.sizes == [pod.old.size.with_room_for(ModelSize(416, 16)), pod.old.size]


def test_the_next_frame_goes_to_the_new_model_and_all_that_depends_on_it_follows(pod: Pod) -> None:
    pod.infer(1, 2)
    pod.offer(fails=False)
    assert pod.exchange.running is pod.new
    assert (pod.exchange.pending, pod.exchange.probation) == (False, True)
    assert pod.follower.engines == [pod.new.engine]
    assert pod.follower.sizes == [pod.new.size]
    assert pod.utilisation.capacity_fps == 50
    assert pod.shown == ["new"]
    ratios = {"old": None, "new": 0.0}
    for model, value in ratios.items():
        assert pod.registry.get_sample_value("ei_scale_ratio", {"infer_type": "face", "model": model}) == value
    pod.infer(3, 4)
    pod.exchange.look(pod.utilisation, 10.0 + PROBATION_S)
    assert not pod.exchange.probation
    assert pod.exchange.refusal() is None


def test_a_model_that_fails_on_real_frames_is_given_up_at_once(pod: Pod) -> None:
    pod.offer(fails=True)
    pod.infer(1, 2)
    pod.exchange.look(pod.utilisation, 10.5)
    assert pod.exchange.running is pod.new, "two frames prove nothing"
    pod.infer(3)
    pod.exchange.look(pod.utilisation, 11.0)
    assert pod.exchange.running is pod.old
    assert pod.shown == ["old"]
    assert pod.utilisation.capacity_fps == 100
    assert pod.exchange.refusal() == "It failed on 3 of the first 3 frames."
    assert pod.exchange.refusal() is None
    pod.infer(4, 5)
    assert pod.parts.publisher.orders[-2:] == [4, 5]


def test_a_few_failed_frames_among_many_are_no_reason(pod: Pod) -> None:
    pod.offer(fails=False)
    pod.infer(*range(1, 41))
    pod.workers._failed[0] += 3
    pod.exchange.look(pod.utilisation, 11.0)
    assert pod.exchange.running is pod.new


def test_an_offer_waits_while_the_model_is_compiled_again(pod: Pod) -> None:
    pod.follower.compiling = True
    pod.offer(fails=False)
    assert pod.exchange.pending
    pod.follower.compiling = False
    pod.exchange.look(pod.utilisation, 11.0)
    assert pod.exchange.running is pod.new


def test_results_and_metrics_name_the_precision_of_the_device_that_auto_has_moved_to(pod: Pod) -> None:
    class Moved(IdleEngine):
        def precision(self, stored: str) -> str:
            return {"FP32": "FP16"}[stored]

    pod.old.spec, pod.old.engine = SimpleNamespace(precision="FP32"), Moved()
    pod.exchange.moved()
    assert pod.exchange.running.info.precision == "FP16"
    infos = {"infer_type": "face", "model": "old", "role": "running"}
    assert pod.registry.get_sample_value("ei_model_info", {**infos, "precision": "FP16"}) == 1
    assert pod.registry.get_sample_value("ei_model_info", {**infos, "precision": "FP32"}) is None
    pod.infer(1)
    wait_for(lambda: bool(pod.parts.publisher.precisions), what="a result")
    assert pod.parts.publisher.precisions == {"FP16"}
