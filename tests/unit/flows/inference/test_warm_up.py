"""The warm-up: how much of a start it takes, and what a pod knows after it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.support.waiting import TIME_FACTOR

from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.flows.inference import warm_up as module
from elastic_inference.flows.inference.adapters import AdapterOptions
from elastic_inference.flows.inference.engine import Engine, compile_engine
from elastic_inference.flows.inference.frame_detector import FrameDetector
from elastic_inference.flows.inference.runtime import make_core
from elastic_inference.flows.inference.warm_up import MIN_FRAMES, warm_up


@pytest.fixture
def engine(shared_models: Path) -> Engine:
    path = shared_models / "face-detection-retail-0005" / "FP32" / "face-detection-retail-0005.xml"
    return compile_engine(make_core(CpuAllowance(0.2, 1)), path, None, AdapterOptions(), "CPU")


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the warm-up does with its detectors, in order."""
    done: list[str] = []
    for name in ("check", "infer"):
        method = getattr(FrameDetector, name)

        def spy(self: FrameDetector, frame: object, name: str = name, method: object = method) -> object:
            done.append(name)
            return method(self, frame)  # type: ignore[operator]

        monkeypatch.setattr(FrameDetector, name, spy)
    return done


def test_under_a_quota_a_few_frames_of_one_request_are_enough(engine: Engine, frames: list[str]) -> None:
    found = warm_up(engine, 0.2)
    assert frames == ["check", *["infer"] * MIN_FRAMES]
    assert found.cores == 0.2
    began_s = time.process_time()
    warm_up(engine, 0.2)
    spent_s = time.process_time() - began_s
    # Five frames of the same model, its first included, at a fifth of a core.
    assert 0.2 / spent_s / 3 < found.fps < 0.2 / spent_s * 30


def test_without_a_quota_the_pod_looks_how_many_cores_there_are(
    engine: Engine, frames: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CORES_S", 0.02)
    found = warm_up(engine)
    assert frames.count("check") == engine.streams + 2
    assert frames.count("infer") >= MIN_FRAMES * (engine.streams + 2)
    assert 0 < found.cores < 64 * TIME_FACTOR
    assert found.fps > 0
