"""Finds and loads models for a pod: at the start, and later beside the running one.

Called by `inference_service` and the models thread. All engines of a pod share one `openvino.Core`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.adapters.catalogue import ModelSpec, find_model
from elastic_inference.adapters.catalogue.model_files import beside_model
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.base.config import InferenceSettings
from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.domain.image_size import ModelSize
from elastic_inference.flows.inference.compiled_models import CompiledModels, cpu_name
from elastic_inference.flows.inference.engine import Engine, compile_engine
from elastic_inference.flows.inference.frame_detector import FrameDetector, make_detectors
from elastic_inference.flows.inference.result_builder import PodInfo
from elastic_inference.flows.inference.runtime import has_cpu, make_core, use_threads

log = logging.getLogger(__name__)

DEFAULT_THRESHOLD = 0.5
# Measured with three models (ADR 22): a model with one stream takes up to some six times its file.
_FILE_FACTOR = 6
# Name, size and time of each file of a model.
FileMark = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A loaded model with all that depends on it. `compiled_for` is the CPU that it was compiled for."""

    engine: Engine
    spec: ModelSpec
    info: PodInfo
    threshold: float
    compiled_for: CpuAllowance
    files: FileMark
    # About how much memory it takes.
    model_bytes: int
    make_detectors: Callable[[], Sequence[FrameDetector]]

    @property
    def size(self) -> ModelSize:
        """The size of frames that it needs."""
        return self.engine.size


class ModelLoader:
    """Loads the models of one pod. `budget` and `wait_s` are for the detectors; set them before `load`."""

    def __init__(self, settings: InferenceSettings, pod: str, allowance: CpuAllowance) -> None:
        """Raises SettingError for a cache folder that is not writable."""
        self._settings, self._pod = settings, pod
        self._core: Any = make_core(allowance, settings.model_cache_dir)
        folders = [each for each in (settings.model_cache_dir, settings.model_compiled_dir) if each is not None]
        self._kept = CompiledModels(folders, settings.model_cache_dir, cpu_name())
        self.budget: ByteBudget | None = None
        self.wait_s: float | None = None

    def find(self, name: str | None = None) -> ModelSpec:
        """The model of the settings; with a name, that model in the folder of the settings. Raises ModelError."""
        settings = self._settings
        if name is None:
            return find_model(settings.infer_model_name, settings.infer_model_path, settings.infer_type)
        path = settings.infer_model_path
        if path is not None and path.is_file():
            path = path.parent
        return find_model(name, path, settings.infer_type)

    def compile(self, spec: ModelSpec, allowance: CpuAllowance, *, trial: bool = False) -> Engine:
        """Compiles a model for the pod's threads; a `trial` for one. Raises ModelError or SettingError."""
        settings = self._settings
        began_s = time.monotonic()
        if allowance.quota is not None and has_cpu(self._core):
            use_threads(self._core, allowance.threads)
        engine = compile_engine(
            self._core,
            spec.path,
            spec.adapter,
            spec.options,
            settings.infer_device,
            precision=settings.inference_precision,
            kept=self._kept,
            trial=trial,
        )
        log.info(
            "%s on %s: %d requests at a time, %s, loaded in %.1f s",
            spec.path,
            engine.device,
            engine.streams,
            f"a CPU quota of {allowance.quota:g}" if allowance.quota is not None else f"{allowance.cores} cores",
            time.monotonic() - began_s,
        )
        return engine

    def running(
        self, engine: Engine, spec: ModelSpec, files: FileMark, allowance: CpuAllowance, model_bytes: int
    ) -> RunningModel:
        """An engine with all that depends on it. `files` are those of before it was loaded."""
        threshold = self.threshold(spec)
        info = PodInfo(self._settings.infer_type, self._pod, spec.name, engine.precision(spec.precision))
        return RunningModel(
            engine,
            spec,
            info,
            threshold,
            allowance,
            files,
            model_bytes,
            lambda: make_detectors(engine, threshold, self.budget, self.wait_s),
        )

    def threshold(self, spec: ModelSpec) -> float:
        """The minimum confidence of a detection."""
        if self._settings.confidence_threshold is not None:
            return self._settings.confidence_threshold
        return DEFAULT_THRESHOLD if spec.threshold is None else spec.threshold


def needed_bytes(spec: ModelSpec, running: ModelSpec, running_bytes: int, streams: int) -> int:
    """An estimate of the memory that a model takes, from its files and from what the running one took."""
    size, other = (sum(each[1] for each in files_of(one)) for one in (spec, running))
    by_file = _FILE_FACTOR * size * (1 + (streams - 1) // 3)
    return max(by_file, running_bytes * size // other if other else 0)


def files_of(spec: ModelSpec) -> FileMark:
    """The model's files as they are now, with weights and side files. Missing ones are left out."""
    path = spec.path
    parts = [path] if path.is_file() else sorted(path.rglob("*"))[:1000]
    if path.is_file():
        parts += beside_model(path)
    return tuple(mark for part in parts if (mark := _mark(part)) is not None)


def _mark(path: Path) -> tuple[str, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (path.name, found.st_size, found.st_mtime_ns)
