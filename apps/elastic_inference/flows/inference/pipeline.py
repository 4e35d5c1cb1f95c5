"""One pod's flow: wires its parts together, runs their threads, and stops them in order.

    intake ──tasks──► workers, one for each inference request ──► result sender
       └───────────── load meter ◄──────────┘

Called by `inference_service`. A stop ends the intake first, then each part once it has finished its frames: none is
lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.adapters.frame_queue.pop_batch import MAX_POP_BYTES
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequests
from elastic_inference.adapters.stream_broker.model_wishes import ModelWishes
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.base.lifecycle import DRAIN_LIMIT_S, Lifecycle
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.base.model_metrics import ModelMetrics
from elastic_inference.flows.inference.canary import CanaryView
from elastic_inference.flows.inference.costly_frames import CostlyFrames
from elastic_inference.flows.inference.engine import Engine
from elastic_inference.flows.inference.frame_account import FrameAccount
from elastic_inference.flows.inference.frame_desk import FrameDesk
from elastic_inference.flows.inference.frame_samples import FrameSamples
from elastic_inference.flows.inference.intake import POP_WAIT_S, Intake
from elastic_inference.flows.inference.load_meter import MEASURE_EVERY_S, LoadMeter
from elastic_inference.flows.inference.model_exchange import ModelExchange
from elastic_inference.flows.inference.model_keeper import ModelKeeper
from elastic_inference.flows.inference.model_loader import ModelLoader, RunningModel
from elastic_inference.flows.inference.pod_context import PodContext
from elastic_inference.flows.inference.recent_frames import RecentFrames
from elastic_inference.flows.inference.redis_health import RedisHealth
from elastic_inference.flows.inference.resizing import CpuFollower, PodCpu
from elastic_inference.flows.inference.result_builder import ResultBuilder
from elastic_inference.flows.inference.result_sender import ResultSender
from elastic_inference.flows.inference.side_work import SideWork
from elastic_inference.flows.inference.task_queue import TaskQueue, frames_ahead
from elastic_inference.flows.inference.utilisation import ClaimedDrops, Utilisation
from elastic_inference.flows.inference.workers import WorkerPool

log = logging.getLogger(__name__)

# Leaves a drain the time to close its connections within DRAIN_LIMIT_S.
_DRAIN_MARGIN_S = 3.0
# Frames that wait longer for memory are stale; a worker that waits must not seem stuck.
_MAX_WAIT_S = 20.0
# The messages of frames in hand may take a quarter of the memory that decoding may take.
_HELD_SHARE = 4


@dataclass(frozen=True, slots=True)
class Tuning:
    """`first_fps` is the capacity measured in the warm-up.

    `window_s` is the window of the rates, `max_frame_age_s` the age at which a waiting frame is stale.
    """

    first_fps: float
    window_s: float
    max_frame_age_s: float

    def fresh_s(self, workers: int, rounds: int, fps: float) -> float:
        """The maximum age at which a frame is still inferred or published: the time for several rounds of all workers.

        Generous, since a machine under load is slower than it was in the warm-up. Only frames of a process that was
        stopped for seconds are older.
        """
        return self.max_frame_age_s + rounds * (1.0 + workers / max(fps, 0.001))


@dataclass(frozen=True, slots=True)
class ModelChanges:
    """What a pod needs to change to another model: loader, wishes of the API, metrics, and `view` for a canary."""

    loader: ModelLoader
    wishes: ModelWishes
    view: CanaryView
    metrics: ModelMetrics


class Pipeline:
    """One pod's flow; `run` it once."""

    def __init__(
        self,
        *,
        running: RunningModel,
        changes: ModelChanges,
        consumer: QueueConsumer,
        publisher: ResultPublisher,
        tuning: Tuning,
        budget: ByteBudget,
        metrics: InferenceMetrics,
        lifecycle: Lifecycle,
        cpu: PodCpu,
        explain: Callable[[Exception, str], str],
        requests: FrameRequests,
        recent_bytes: int = 0,
    ) -> None:
        """`requests` are those of event workers for recent frames, of which `recent_bytes` are kept.

        `budget` limits the memory of images being decoded. `explain` says in one line what a Redis error means, for
        `queue` or `broker`.
        """
        self._publisher = publisher
        self._lifecycle = lifecycle
        engine, info = running.engine, running.info
        changes.loader.budget, changes.loader.wait_s = budget, min(tuning.max_frame_age_s + 1.0, _MAX_WAIT_S)
        detectors = running.make_detectors()
        self._tuning = tuning
        self._costly = CostlyFrames(len(detectors))
        meter = LoadMeter(engine, ClaimedDrops(tuning.window_s, POP_WAIT_S), metrics, window_s=tuning.window_s)
        self._pod = pod = PodContext(self._make_tasks(len(detectors), budget), meter, FrameAccount(metrics), lifecycle)
        broker = RedisHealth("broker", lifecycle, lambda error: explain(error, "broker"))
        queue = RedisHealth("queue", lifecycle, lambda error: explain(error, "queue"))
        results = ResultBuilder(info, engine, publisher.server_ms)
        recent, samples = RecentFrames(recent_bytes, budget), FrameSamples(budget)
        self._desk = FrameDesk(requests, recent, lambda: publisher.events_run, consumer.want_full)
        self._sender = ResultSender(publisher, self._report, pod, broker, recent=recent, samples=samples)
        self._workers = WorkerPool(detectors, results, pod, self._sender)
        self._tune(len(detectors), tuning.first_fps)
        self._intake = Intake(consumer, info.infer_type, pod, self._sender, queue)
        self._follower = CpuFollower(
            cpu, engine, self._workers, pod, make_detectors=running.make_detectors, tune=self._tune
        )
        self._exchange = ModelExchange(
            running,
            self._workers,
            consumer=consumer,
            follower=self._follower,
            meter=pod.meter,
            metrics=metrics,
            models=changes.metrics,
            server_ms=publisher.server_ms,
            tune=self._tune,
        )
        self._side_work = SideWork(pod.meter)
        self._keeper = self._make_keeper(changes, samples, info.pod)

    def run(self, make_utilisation: Callable[[Engine], Utilisation]) -> None:
        """Runs until the lifecycle stops and all frames in hand are published.

        `make_utilisation` is called at the start, and again when the engine has moved to another device.
        """
        pop = self._lifecycle.thread("pop", self._intake.run)
        publish = self._lifecycle.thread("publish", self._sender.run)
        desk = self._lifecycle.thread("frames", self._desk.run, may_end=True)
        desk.daemon = True  # a call that hangs must not block the exit
        desk.start()
        models = self._lifecycle.thread("models", self._keeper.run, may_end=True)
        models.start()
        publish.start()
        self._workers.start()
        pop.start()
        self._measure_until_stop(make_utilisation)
        self._lifecycle.end_beat("infer")
        drain_until_s = time.monotonic() + DRAIN_LIMIT_S - _DRAIN_MARGIN_S
        self._workers.drain(drain_until_s)
        self._sender.drain(drain_until_s)
        self._pod.tasks.interrupt()
        pop.join()
        self._workers.join()
        self._sender.close()
        publish.join()
        self._desk.close()
        self._keeper.close()
        desk.join(_DRAIN_MARGIN_S)
        self._follower.close(max(_DRAIN_MARGIN_S, drain_until_s - time.monotonic()))
        models.join(max(_DRAIN_MARGIN_S, drain_until_s - time.monotonic()))
        log.info("drained: %d frames inferred in total", self._workers.inferred)

    def _make_tasks(self, workers: int, budget: ByteBudget) -> TaskQueue:
        held_bytes = max(MAX_POP_BYTES, budget.total // _HELD_SHARE)
        return TaskQueue(workers, frames_ahead(self._tuning.first_fps), held_bytes, self._costly)

    def _make_keeper(self, changes: ModelChanges, samples: FrameSamples, pod: str) -> ModelKeeper:
        return ModelKeeper(
            loader=changes.loader,
            exchange=self._exchange,
            wishes=changes.wishes,
            samples=samples,
            follower=self._follower,
            work=self._side_work,
            metrics=changes.metrics,
            pod=pod,
            view=changes.view,
        )

    def _measure_until_stop(self, make_utilisation: Callable[[Engine], Utilisation]) -> None:
        utilisation = make_utilisation(self._exchange.running.engine)
        while not self._lifecycle.wait_stop(MEASURE_EVERY_S):
            engine = self._exchange.running.engine
            if engine.look_for_devices():
                log.info("the model now runs on %s", engine.device)
                self._exchange.moved()
                utilisation = make_utilisation(engine)
            now_s = time.monotonic()
            self._side_work.count()
            self._exchange.look(utilisation, now_s)
            self._follower.look(utilisation, now_s)
            if not self._workers.stuck(now_s):
                self._lifecycle.beat("infer")
            self._pod.meter.measure(utilisation, now_s, self._workers.inferred)
        self._pod.meter.end()

    def _tune(self, workers: int, fps: float) -> None:
        """Sets what depends on the number of workers, and on how fast the pod is."""
        fresh_s = self._tuning.fresh_s(workers, 1, fps)
        self._pod.tasks.resize(workers, frames_ahead(fps))
        self._costly.resize(workers, fps, fresh_s)
        self._workers.fresh_s = fresh_s
        self._sender.fresh_s = self._tuning.fresh_s(workers, 3, fps)

    def _report(self) -> None:
        """Publish thread: refreshes the pod's entry in the registry."""
        reading, running = self._pod.meter.reading, self._exchange.running
        info = running.info
        rates = (reading.infer_fps, reading.drop_fps, reading.scale_ratio) if reading else (0.0, 0.0, 0.0)
        self._publisher.report_worker(
            *rates,
            capacity_fps=reading.capacity_fps if reading else 0.0,
            device=running.engine.device,
            model=info.model,
            precision=info.precision,
            more=self._keeper.report(),
        )
