"""What a pod does about a wished model under a CPU quota and a memory limit: real models, and a made-up /sys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.catalogue import ModelSpec
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.stream_broker.model_wishes import SWITCH, ModelWishes
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.base.cpu_quota import CpuAllowance, CpuWatch
from elastic_inference.base.memory_limit import memory_limit, memory_used
from elastic_inference.base.model_metrics import ModelMetrics
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.image_size import ModelSize
from elastic_inference.domain.model_wish import CanaryChoice, ModelChoice, ModelFailure, ModelWish, record_json
from elastic_inference.flows.inference import resizing
from elastic_inference.flows.inference.canary import CanaryView
from elastic_inference.flows.inference.engine import Engine
from elastic_inference.flows.inference.frame_samples import FrameSamples
from elastic_inference.flows.inference.model_keeper import MAX_FAILED, ModelKeeper
from elastic_inference.flows.inference.model_loader import ModelLoader, RunningModel, files_of
from elastic_inference.flows.inference.resizing import CpuFollower, PodCpu
from elastic_inference.flows.inference.side_work import SideWork
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.support.system_tree import MIB, QuotaFile, file_tree, memory_files

FP32, INT8 = "face-detection-retail-0005_FP32", "face-detection-retail-0005_INT8"
RUNNING_BYTES = 40 * MIB


class CountingLoader(ModelLoader):
    """Counts what is compiled: the precision, and whether it is for a trial."""

    compiled: list[tuple[str, bool]]

    def compile(self, spec: ModelSpec, allowance: CpuAllowance, *, trial: bool = False) -> Engine:
        self.compiled.append((spec.precision, trial))
        return super().compile(spec, allowance, trial=trial)


class Exchange:
    """Takes each offer at once."""

    pending = probation = False
    frame_s = 0.005

    def __init__(self, running: RunningModel) -> None:
        self.running = running
        self.tried: list[ModelSize | None] = []

    def try_size(self, size: ModelSize | None) -> None:
        self.tried.append(size)

    def offer(self, model: RunningModel, *_: object) -> None:
        self.running = model

    def refusal(self) -> None:
        """Nothing has been given up."""


class Follower(CpuFollower):
    """The CPU and memory of the pod, as files say; it compiles nothing."""

    compiling = False

    def __init__(self, cpu: PodCpu) -> None:
        self._cpu = cpu


class Viewers:
    """Nobody watches."""

    def publish(self, batch: object) -> None:
        """Forgets it."""

    def close(self) -> None:
        """Nothing is open."""


class Site:
    """A pod that runs FP32, without the threads that infer."""

    def __init__(self, own: redis.Redis, models: Path, root: Path) -> None:
        """`own` is the pod's connection."""
        watch = CpuWatch(root)
        settings = config.load(
            config.InferenceSettings,
            {"INFER_TYPE": "face", "INFER_MODEL_NAME": FP32, "INFER_MODEL_PATH": str(models)},
        )
        self.client, self.registry = own, CollectorRegistry()
        self.loader = CountingLoader(settings, "pod-1", watch.allowance)
        self.loader.compiled = []
        spec = self.loader.find()
        engine = self.loader.compile(spec, watch.allowance)
        self.loader.compiled.clear()
        self.first = self.loader.running(engine, spec, files_of(spec), watch.allowance, RUNNING_BYTES)
        self.exchange, follower, meter = Exchange(self.first), Follower(PodCpu(watch, RUNNING_BYTES)), object()
        parts: dict[str, Any] = {"exchange": self.exchange, "follower": follower, "work": SideWork(meter)}  # type: ignore[arg-type]
        self.wishes = ModelWishes(own, "face")
        self.keeper = ModelKeeper(
            loader=self.loader,
            wishes=self.wishes,
            samples=FrameSamples(),
            metrics=ModelMetrics(self.registry, "face"),
            pod="pod-1",
            view=CanaryView(Viewers()),
            **parts,
        )
        self._now_s = 0.0

    def wish(self, number: int, model: str) -> None:
        """Asks for a model, and lets the pod look."""
        self.ask(ModelWish(id=f"{number:016x}", choice=ModelChoice(model=model)))

    def ask(self, wish: ModelWish) -> None:
        """Writes a wish, and lets the pod look."""
        self.client.set(keys.model_wish("face"), record_json(wish))
        self._now_s += 1.0
        self.keeper._look(self._now_s)

    def failures(self, reason: ModelFailure) -> float:
        """How many models have failed for this reason."""
        labels = {"infer_type": "face", "reason": reason.value}
        return self.registry.get_sample_value("ei_model_failures_total", labels) or 0.0


@pytest.fixture
def site(valkey: EmbeddedValkey, shared_models: Path) -> Iterator[Callable[[Path], Site]]:
    with connect(config.RedisTarget(url=Secret(valkey.url))) as own:
        yield partial(Site, own, shared_models)


def test_a_pod_of_one_thread_compiles_a_new_model_once(site: Callable[[Path], Site], tmp_path: Path) -> None:
    pod = site(QuotaFile(tmp_path, 0.5).root)
    pod.wish(1, INT8)
    assert pod.loader.compiled == [("INT8", False)], "what was tried is what runs"
    running = pod.exchange.running
    assert (running.info.precision, running.compiled_for.quota) == ("INT8", 0.5)
    assert not running.engine.inline, "that was for the trial"
    for detector in running.make_detectors():
        assert isinstance(detector.infer(synthetic_frame()), list)
    pod.wish(2, FP32)
    assert pod.loader.compiled[1:] == [("FP32", False)]


def test_a_pod_without_a_quota_tries_a_model_in_one_thread_first(site: Callable[[Path], Site], tmp_path: Path) -> None:
    pod = site(tmp_path)
    pod.wish(1, INT8)
    assert pod.loader.compiled == [("INT8", True), ("INT8", False)]
    assert pod.exchange.running.info.precision == "INT8"


def test_frames_have_the_size_that_a_canary_of_another_family_needs(
    site: Callable[[Path], Site], tmp_path: Path
) -> None:
    pod = site(QuotaFile(tmp_path, 0.5).root)
    pod.ask(ModelWish(id=f"{1:016x}", canary_id=f"{2:016x}", canary=CanaryChoice(model="yolox-nano_FP32")))
    assert pod.exchange.tried == [ModelSize(416, 416, letterbox=True)]
    pod.ask(ModelWish(id=f"{3:016x}"))
    assert pod.exchange.tried[1:] == [None], "the canary has been dropped"
    pod.wish(4, INT8)
    assert pod.exchange.tried[2:] == [ModelSize(300, 300), None], "while both are compared"


def test_a_model_for_which_there_is_no_memory_is_not_even_loaded(
    site: Callable[[Path], Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = QuotaFile(tmp_path, 0.5).root
    pod = site(root)

    def limit(free: int) -> None:
        """Half of what is free may be used."""
        files = memory_files(2, "/", {"": str(memory_used() + free)}, 1 << 40)
        file_tree(root, files)

    monkeypatch.setattr(resizing, "memory_limit", partial(memory_limit, root))
    limit(8 * MIB)
    pod.wish(1, INT8)
    assert pod.exchange.running is pod.first
    assert pod.loader.compiled == []
    assert pod.failures(ModelFailure.MEMORY) == 1
    _, failures = pod.wishes.read()
    failure = failures[SWITCH]
    assert (failure.id, failure.reason, failure.pod) == (f"{1:016x}", ModelFailure.MEMORY, "pod-1")
    assert "raise the pod's memory limit" in failure.message
    assert "MiB may be used" in failure.message
    pod.wish(1, INT8)
    assert pod.failures(ModelFailure.MEMORY) == 1, "nobody asked again"
    limit(1000 * MIB)
    pod.wish(2, INT8)
    assert pod.exchange.running.info.precision == "INT8"


def test_a_pod_remembers_only_the_newest_failures(site: Callable[[Path], Site], tmp_path: Path) -> None:
    pod = site(QuotaFile(tmp_path, 0.5).root)
    count = 3 * MAX_FAILED
    for number in range(1, count + 1):
        pod.wish(number, f"no-model-{number}")
    assert pod.failures(ModelFailure.MISSING) == count
    assert list(pod.keeper._failed) == [f"{number:016x}" for number in range(count - MAX_FAILED + 1, count + 1)]
    # Also if Redis has lost the failure, the pod does not try again.
    pod.client.delete(keys.model_failures("face"))
    pod.wish(count, INT8)
    assert pod.exchange.running is pod.first
