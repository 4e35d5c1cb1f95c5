"""Changes the model of a running pod between two frames, and changes back if the new one fails on real frames.

The models thread offers a model, the main thread takes it at its next look. The former model stays loaded for
PROBATION_S, so the way back takes no longer than the way there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.base.model_metrics import ModelMetrics
from elastic_inference.domain.image_size import ModelSize
from elastic_inference.flows.inference.engine import SPARE_REQUESTS
from elastic_inference.flows.inference.frame_detector import FrameDetector
from elastic_inference.flows.inference.load_meter import LoadMeter
from elastic_inference.flows.inference.model_loader import RunningModel
from elastic_inference.flows.inference.resizing import CpuFollower
from elastic_inference.flows.inference.result_builder import ResultBuilder
from elastic_inference.flows.inference.utilisation import Utilisation
from elastic_inference.flows.inference.workers import Detector, WorkerPool

log = logging.getLogger(__name__)

PROBATION_S = 5.0
# The new model is given up if it fails on this many frames, and on this share of them.
FAILED_FRAMES, FAILED_SHARE = 3, 0.1


@dataclass(frozen=True, slots=True)
class _Offer:
    model: RunningModel
    detectors: Sequence[FrameDetector]
    # How many times as long it takes for a frame.
    factor: float


@dataclass(frozen=True, slots=True)
class _Former:
    model: RunningModel
    crew: tuple[list[Detector], ResultBuilder]
    factor: float
    until_s: float
    inferred: int
    failed: int


class ModelExchange:
    """The running model of one pod. `look` belongs to the main thread, the rest to the models thread."""

    def __init__(
        self,
        running: RunningModel,
        workers: WorkerPool,
        *,
        consumer: QueueConsumer,
        follower: CpuFollower,
        meter: LoadMeter,
        metrics: InferenceMetrics,
        models: ModelMetrics,
        server_ms: Callable[[float], float | None],
        tune: Callable[[int, float], None],
    ) -> None:
        """`server_ms` and `tune` are as for `ResultBuilder` and `CpuFollower`."""
        self.running = running
        self._workers, self._consumer, self._follower, self._meter = workers, consumer, follower, meter
        self._metrics, self._models = metrics, models
        self._server_ms, self._tune = server_ms, tune
        self._offer: _Offer | None = None
        self._former: _Former | None = None
        # Why the main thread went back, until the models thread has read it.
        self._refusal: str | None = None
        self.frame_s: float | None = None
        self._models.run(running.info.model, running.info.precision)

    @property
    def pending(self) -> bool:
        """Whether an offer waits for the main thread."""
        return self._offer is not None

    @property
    def probation(self) -> bool:
        """Whether the former model is still there."""
        return self._former is not None

    def offer(self, model: RunningModel, detectors: Sequence[FrameDetector], factor: float) -> None:
        """Offers a model whose requests have inferred a frame each."""
        self._offer = _Offer(model, detectors, factor)

    def try_size(self, size: ModelSize | None) -> None:
        """From now on, frames should also suit a model under trial that needs this size; None: no longer."""
        own = self.running.size
        self._consumer.need_size(own if size is None else own.with_room_for(size))

    def refusal(self) -> str | None:
        """Why the model that was last taken was given up; once."""
        found, self._refusal = self._refusal, None
        return found

    def look(self, utilisation: Utilisation, now_s: float) -> None:
        """Takes an offer, or ends a probation. Call it twice a second, before the measurement."""
        self.frame_s = utilisation.frame_s
        if self._former is not None:
            self._watch(self._former, utilisation, now_s)
        elif self._offer is not None and not self._follower.compiling:
            self._take(self._offer, utilisation, now_s)

    def moved(self) -> None:
        """Main thread: other devices run the model now, perhaps in another precision, which results and metrics say."""
        model = self.running
        precision = model.engine.precision(model.spec.precision)
        if precision == model.info.precision:
            return
        self.running = replace(model, info=replace(model.info, precision=precision))
        self._workers.crew[1].info = self.running.info
        self._models.run(model.info.model, precision)

    def _take(self, offer: _Offer, utilisation: Utilisation, now_s: float) -> None:
        former, crew = self.running, self._workers.crew
        results = ResultBuilder(offer.model.info, offer.model.engine, self._server_ms)
        if not self._change(offer.model, offer.detectors, results, utilisation, offer.factor):
            return
        workers = self._workers
        self._former = _Former(former, crew, 1 / offer.factor, now_s + PROBATION_S, workers.inferred, workers.failed)
        self._offer = None
        self._models.switches.inc()

    def _watch(self, former: _Former, utilisation: Utilisation, now_s: float) -> None:
        failed = self._workers.failed - former.failed
        frames = failed + self._workers.inferred - former.inferred
        if failed >= FAILED_FRAMES and failed > FAILED_SHARE * frames:
            if not self._follower.compiling and self._change(former.model, *former.crew, utilisation, former.factor):
                self._former = None
                self._refusal = f"It failed on {failed} of the first {frames} frames."
        elif now_s >= former.until_s:
            self._former = None

    def _change(
        self,
        model: RunningModel,
        detectors: Sequence[Detector],
        results: ResultBuilder,
        utilisation: Utilisation,
        factor: float,
    ) -> bool:
        wanted = self._follower.wanted(len(detectors) - SPARE_REQUESTS)
        if not self._workers.exchange(detectors, wanted, results):
            return False  # workers have to end first
        self.running = model
        self._follower.adopt(model.engine, model.compiled_for, model.make_detectors, model.model_bytes)
        self._consumer.need_size(model.size)
        self._meter.follow(model.engine)
        utilisation.scale(factor)
        self._metrics.follow(model.info.model)
        self._models.run(model.info.model, model.info.precision)
        self._tune(wanted, utilisation.capacity_fps)
        log.info("the pod runs %s in %s now", model.info.model, model.info.precision or "?")
        return True
