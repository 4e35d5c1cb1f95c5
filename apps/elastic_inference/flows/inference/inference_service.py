"""The inference service: from settings to a running pod. Entry point of `infer_service.py`."""

from __future__ import annotations

import logging
import time

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.catalogue import ModelSpec, find_model
from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.adapters.redis_connection import connect, explain
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequests
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.base.config import InferenceSettings
from elastic_inference.base.cpu_quota import CpuAllowance, CpuWatch
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.base.memory_limit import memory_used, room_for_images
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.base.service_runner import run_service
from elastic_inference.domain import keys
from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.image_size import ModelSize
from elastic_inference.flows.inference.adapters.preprocessing import Resize
from elastic_inference.flows.inference.compiled_models import CompiledModels, cpu_name
from elastic_inference.flows.inference.engine import Engine, compile_engine, reason
from elastic_inference.flows.inference.pipeline import Pipeline, Tuning
from elastic_inference.flows.inference.resizing import PodCpu, fixed_cores
from elastic_inference.flows.inference.result_builder import PodInfo
from elastic_inference.flows.inference.runtime import make_core
from elastic_inference.flows.inference.utilisation import Utilisation
from elastic_inference.flows.inference.warm_up import WarmUp, limit_opencv, warm_up

log = logging.getLogger(__name__)

DEFAULT_THRESHOLD = 0.5
# This share of the memory that is left once the model has run may hold decoded images. The rest is for frames in hand
# and for what the allocator keeps.
IMAGE_SHARE = 0.5


def main() -> int:
    """Runs the service until it is told to stop, and returns the exit code."""
    return run_service(InferenceSettings, run)


def run(settings: InferenceSettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Loads the model, warms up, infers until the stop, drains. Raises ModelError or SettingError at start."""
    keep_freed_memory()
    for part in ("model", "queue", "broker"):
        lifecycle.declare(part)
    pod = keys.pod_name()
    # Nothing is sent yet, but an invalid address is reported before the model loads, which takes a while.
    queue_client = connect(settings.queue, key=keys.legacy_queue(settings.infer_type), name=f"ei-infer-{pod}")
    broker_client = connect(settings.broker, name=f"ei-infer-{pod}")
    spec = find_model(settings.infer_model_name, settings.infer_model_path, settings.infer_type)
    watch = CpuWatch()
    limit_opencv()
    before_bytes = memory_used()
    engine = load_engine(settings, spec, watch.allowance)
    if lifecycle.stopping:
        return
    try:
        first = warm_up(engine, fixed_cores(watch.allowance))
    except ModelError as error:
        raise ModelError(f"The model {spec.path} cannot be served: {error}") from None
    except Exception as error:
        # OpenVINO fails, or the adapter cannot read the outputs.
        log.debug("the warm-up failed", exc_info=True)
        raise ModelError(f"The model {spec.path} cannot be run on {engine.device}: {reason(error)}") from None
    lifecycle.set_ready("model")
    precision = engine.precision(spec.precision)
    log.info("%s in %s: %.1f frames a second in the warm-up", spec.name, precision or "?", first.fps)
    model_bytes = memory_used() - before_bytes
    budget = ByteBudget(room_for_images(IMAGE_SHARE))
    log.info("at most %d MiB of memory for the images that are being decoded", budget.total >> 20)
    prepared = engine.prepared
    model_size = ModelSize(prepared.width, prepared.height, letterbox=prepared.resize is Resize.LETTERBOX)
    consumer = QueueConsumer(queue_client, settings.infer_type, pod, settings, model_size)
    publisher = ResultPublisher(broker_client, settings.infer_type, pod, settings.results_maxlen)
    threshold = DEFAULT_THRESHOLD if spec.threshold is None else spec.threshold
    if "confidence_threshold" in settings.model_fields_set:
        threshold = settings.confidence_threshold
    targets = {"queue": settings.queue, "broker": settings.broker}
    pipeline = Pipeline(
        engine=engine,
        consumer=consumer,
        publisher=publisher,
        info=PodInfo(settings.infer_type, pod, spec.name, precision),
        tuning=Tuning(threshold, first.fps, settings.metrics_window_s, settings.max_frame_age_s),
        budget=budget,
        metrics=InferenceMetrics(registry, settings.infer_type, spec.name),
        lifecycle=lifecycle,
        cpu=PodCpu(watch, model_bytes),
        explain=lambda error, part: explain(error, targets[part]),
        requests=FrameRequests(broker_client, pod),
        recent_bytes=settings.recent_frames_mb << 20,
    )
    try:
        pipeline.run(lambda: make_utilisation(engine, watch.allowance, first, settings.metrics_window_s))
    finally:
        queue_client.close()
        broker_client.close()


def load_engine(settings: InferenceSettings, spec: ModelSpec, allowance: CpuAllowance) -> Engine:
    """Compiles the model of `spec`, with the device and the cache folder of the settings."""
    began_s = time.monotonic()
    core = make_core(allowance, settings.model_cache_dir)
    folders = [each for each in (settings.model_cache_dir, settings.model_compiled_dir) if each is not None]
    engine = compile_engine(
        core,
        spec.path,
        spec.adapter,
        spec.options,
        settings.infer_device,
        precision=settings.inference_precision,
        kept=CompiledModels(folders, settings.model_cache_dir, cpu_name()),
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


def make_utilisation(engine: Engine, allowance: CpuAllowance, first: WarmUp, window_s: float) -> Utilisation:
    """The calculation of the load, set up for the CPU or accelerator of this pod."""
    if not engine.on_cpu:
        return Utilisation(window_s, fixed=1.0, first_available=1.0, first_fps=first.fps)
    fixed = fixed_cores(allowance)
    # Other pods that start at the same time slow the warm-up, so its result may be too low, never too high.
    available = max(first.cores, 0.5 * allowance.threads)
    fps = first.fps * (fixed or available) / first.cores if first.cores > 0 else first.fps
    return Utilisation(window_s, fixed=fixed, first_available=available, first_fps=fps)
