"""The inference service: from settings to a running pod. Entry point of `infer_service.py`."""

from __future__ import annotations

import logging

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.catalogue import find_model
from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.adapters.redis_connection import connect, explain
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequests
from elastic_inference.adapters.stream_broker.model_wishes import ModelWishes
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.base.config import InferenceSettings
from elastic_inference.base.cpu_quota import CpuAllowance, CpuWatch
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.base.memory_limit import memory_used, room_for_images
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.base.model_metrics import ModelMetrics
from elastic_inference.base.service_runner import run_service
from elastic_inference.domain import keys
from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.canary import CanaryView
from elastic_inference.flows.inference.engine import Engine, reason
from elastic_inference.flows.inference.model_loader import ModelLoader, files_of
from elastic_inference.flows.inference.pipeline import ModelChanges, Pipeline, Tuning
from elastic_inference.flows.inference.resizing import PodCpu, fixed_cores
from elastic_inference.flows.inference.utilisation import Utilisation
from elastic_inference.flows.inference.warm_up import WarmUp, limit_opencv, warm_up

log = logging.getLogger(__name__)

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
    loader = ModelLoader(settings, pod, watch.allowance)
    files, allowance = files_of(spec), watch.allowance
    engine = loader.compile(spec, allowance)
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
    model_bytes = memory_used() - before_bytes
    running = loader.running(engine, spec, files, allowance, model_bytes)
    log.info("%s in %s: %.1f frames a second in the warm-up", spec.name, running.info.precision or "?", first.fps)
    budget = ByteBudget(room_for_images(IMAGE_SHARE))
    log.info("at most %d MiB of memory for the images that are being decoded", budget.total >> 20)
    consumer = QueueConsumer(queue_client, settings.infer_type, pod, settings, running.size)
    publisher = ResultPublisher(broker_client, settings.infer_type, pod, settings.results_maxlen)
    targets = {"queue": settings.queue, "broker": settings.broker}
    pipeline = Pipeline(
        running=running,
        changes=ModelChanges(
            loader,
            ModelWishes(broker_client, settings.infer_type),
            CanaryView(ResultPublisher(broker_client, settings.infer_type, pod, 0, events=False)),
            ModelMetrics(registry, settings.infer_type),
        ),
        consumer=consumer,
        publisher=publisher,
        tuning=Tuning(first.fps, settings.metrics_window_s, settings.max_frame_age_s),
        budget=budget,
        metrics=InferenceMetrics(registry, settings.infer_type, spec.name),
        lifecycle=lifecycle,
        cpu=PodCpu(watch, model_bytes),
        explain=lambda error, part: explain(error, targets[part]),
        requests=FrameRequests(broker_client, pod),
        recent_bytes=settings.recent_frames_mb << 20,
    )
    try:
        pipeline.run(lambda engine: make_utilisation(engine, watch.allowance, first, settings.metrics_window_s))
    finally:
        queue_client.close()
        broker_client.close()


def make_utilisation(engine: Engine, allowance: CpuAllowance, first: WarmUp, window_s: float) -> Utilisation:
    """The calculation of the load, set up for the CPU or accelerator of this pod."""
    if not engine.on_cpu:
        return Utilisation(window_s, fixed=1.0, first_available=1.0, first_fps=first.fps)
    fixed = fixed_cores(allowance)
    # Other pods that start at the same time slow the warm-up, so its result may be too low, never too high.
    available = max(first.cores, 0.5 * allowance.threads)
    fps = first.fps * (fixed or available) / first.cores if first.cores > 0 else first.fps
    return Utilisation(window_s, fixed=fixed, first_available=available, first_fps=fps)
