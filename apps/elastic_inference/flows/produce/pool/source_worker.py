"""The source worker: leases cameras of the pool, runs them in child processes, reports and hands them over.

Called by `camera_service` with `CAMERA_POOL=true`. A single camera never affects its readiness, liveness or exit code.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from elastic_inference.adapters.leases import Holding, LeaseClient
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.cpu_quota import CpuWatch
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import SourceWorkerMetrics
from elastic_inference.domain import keys
from elastic_inference.flows.produce.pool.child_process import Assignment
from elastic_inference.flows.produce.pool.children import Children
from elastic_inference.flows.produce.pool.lease_keeper import LeaseKeeper, News, Standing
from elastic_inference.flows.produce.pool.load import Load
from elastic_inference.flows.produce.pool.probes import ProbeAnswers
from elastic_inference.flows.produce.pool.statuses import Statuses

log = logging.getLogger(__name__)
GROUP = "cameras"
PART = "cameras"
STEP_S = 0.25
MOST_PROCESSES = 4
# After SIGTERM, cameras run until another worker has claimed and opened them, but for no longer than this.
DRAIN_LIMIT_S = 15.0
# On a busy machine, a worker that missed its rounds usually calls again within this time.
BACK_WITHIN_S = 6.0
# A camera that can't be opened this many times while the former worker has it allows only one session.
REFUSALS = 2


class SourceWorker:
    """Runs until the lifecycle stops and its cameras have been handed over."""

    def __init__(
        self,
        settings: config.CameraSettings,
        lifecycle: Lifecycle,
        registry: CollectorRegistry,
        cpu: CpuWatch | None = None,
    ) -> None:
        """`cpu` returns how much CPU this process may use; tests pass their own."""
        self._lifecycle = lifecycle
        self._cpu = cpu or CpuWatch()
        self._fixed_processes = settings.camera_processes
        self._name = keys.pod_name()
        self._children = Children(self._processes(), settings.metrics_window_s)
        self._load = Load(self._cpu.allowance.limit, settings.metrics_window_s)
        self._statuses = Statuses(self._name, self._children)
        self._metrics = SourceWorkerMetrics(registry)
        registry.register(_ChildrenMetrics(self._children))
        self._client = connect(settings.queue, key=keys.CAMERA_SPECS, name=self._name)
        self._keeper = LeaseKeeper(
            self._client,
            LeaseClient(self._client, GROUP, self._name),
            settings.queue,
            lifecycle=lifecycle,
            standing=self._standing,
            wake=self._children.wake,
        )
        self._probes = ProbeAnswers(settings)
        self._held: dict[str, Holding] = {}
        self._leaving: dict[str, float] = {}  # until when (monotonic)
        self._others_until = float("-inf")  # until when (monotonic) another worker is expected to claim its cameras
        self._told = False  # whether a round has told the others that this worker stops
        self._held_until = float("-inf")  # when (monotonic) its leases end if Redis does not answer
        self._drain_until: float | None = None

    def run(self) -> None:
        """Runs until told to stop and drained."""
        log.info("source worker %s: %.3g cores, at most %d processes", self._name, *self.room())
        self._lifecycle.on_stop(self._keeper.hurry)
        try:
            self._start_children()
            self._keeper.start()
            self._probes.start()
            while not self._drained():
                self._lifecycle.beat(PART)
                self._children.step(STEP_S)
                while not self._keeper.news.empty():
                    self._follow(self._keeper.news.get())
                self._look_after()
        finally:
            self._lifecycle.stop()
            self._probes.close()
            self._keeper.close()
            self._children.close()
            self._client.close()
            self._lifecycle.end_beat(PART)

    def _start_children(self) -> None:
        """Waits for a first process: cameras claimed before there is one would have to wait."""
        while not (self._children.ready or self._lifecycle.stopping):
            self._children.start_first()
            self._lifecycle.beat(PART)
            self._children.step(STEP_S)

    def room(self) -> tuple[float, int]:
        """(cores, processes for cameras)."""
        return self._load.capacity, self._children.most

    def _processes(self) -> int:
        return self._fixed_processes or max(1, min(MOST_PROCESSES, self._cpu.allowance.threads))

    def follow_cpu(self, now: float) -> None:
        """Follows a resize of the pod. With less CPU, running processes stay, and other workers claim cameras."""
        if self._cpu.changed(now):
            self._children.most, self._load.capacity = self._processes(), self._cpu.allowance.limit
            log.info("the CPU quota has changed: now %.3g cores, at most %d processes", *self.room())

    def _drained(self) -> bool:
        if not self._lifecycle.stopping:
            return False
        now = time.monotonic()
        if self._drain_until is None:
            self._drain_until = now + DRAIN_LIMIT_S
            log.info("handing over %d cameras", len(self._held))
        if now >= self._drain_until or not (self._leaving or self._held):
            return True
        # Workers may have come and gone since the last round: only the answer to this round counts.
        if not self._told:
            return now >= self._held_until
        return not self._leaving and now >= self._others_until

    def _standing(self) -> Standing:
        """Called in the keeper's thread: it reads only what the main thread replaces as a whole."""
        return Standing(
            *(self._held, self._load.capacity, self._load.used, self._lifecycle.stopping),
            *(self._statuses.take(), self._children.records.quarantines(time.monotonic())),
        )

    def _follow(self, news: News) -> None:
        """Runs the cameras that the round names, and no others."""
        claims, running, now = news.round.held, self._children.names(), time.monotonic()
        leaving, self._leaving = (
            self._leaving,
            {name: until for name, until in news.round.leaving.items() if name in running},
        )
        until = {name: claim.until_monotonic for name, claim in claims.items()} | self._leaving
        for name in running - until.keys():
            if name in leaving:
                log.info("%s ends here, so that another worker can open it", name)
            self._end(name)
        for name, claim in claims.items():
            if claim.quarantined_until:
                self._children.records.inherit(name, claim.quarantined_until)
            before = self._children.assignment(name)
            camera = news.cameras.get(name) or before
            if camera is not None and (camera is not before or before.epoch != claim.epoch):
                self._children.put(name, Assignment(camera.revision, camera.spec, claim.epoch, until[name]))
        self._children.extend(until)
        costs = self._children.costs
        self._held = {
            name: Holding(
                *(claim.epoch, costs.measured(name) or 0.0, self._fenced_by(name)),
                blocked=self._failures(name) >= REFUSALS,
            )
            for name, claim in claims.items()
        }
        self._held_until = max(until.values(), default=now)
        others = [each for name, each in news.round.workers.items() if name != self._name]
        if any(not each.draining for each in others):
            self._others_until = now + BACK_WITHIN_S
        elif others:
            self._others_until = now  # there are others, but they stop too
        self._told = news.draining
        self._metrics.cameras.set(len(self._children.names()))
        self._metrics.scale_ratio.set(self._load.scale_ratio(news.round.unassigned.values(), len(news.round.workers)))

    def _look_after(self) -> None:
        now = time.monotonic()
        self.follow_cpu(now)
        own = sum(os.times()[:2])
        self._load.note([(0, own), *self._children.cpu_s()], now)
        for name in [name for name in self._leaving if self._fenced_by(name)]:
            log.info("%s is pushed by another worker now", name)
            self._end(name)
        for name in [name for name in self._leaving if self._failures(name)]:
            # Opening it again could end the other worker's session.
            log.info("%s ends here: the camera broke off, and another worker has claimed it", name)
            self._end(name)
        self._ask_newer_epochs()
        self._statuses.update(now)

    def _ask_newer_epochs(self) -> None:
        """Starts a round at once if the queue has started to refuse a camera's frames: a worker that still holds the
        camera gets a newer epoch."""
        refused = {
            name: replace(holding, fenced_by=self._fenced_by(name))
            for name, holding in self._held.items()
            if self._fenced_by(name) > holding.fenced_by
        }
        if refused:
            self._held = self._held | refused
            self._keeper.hurry()

    def _fenced_by(self, name: str) -> int:
        """The epoch with which the queue has refused a camera's frames, else 0."""
        report = self._children.report(name)
        return int(report["fenced"]) if report else 0

    def _failures(self, name: str) -> int:
        """How often opening or reading a camera has failed since its last frame."""
        report = self._children.report(name)
        return int(report["failures"]) if report else 0

    def _end(self, name: str) -> None:
        self._children.remove(name)
        self._leaving.pop(name, None)
        self._held = {each: holding for each, holding in self._held.items() if each != name}


class _ChildrenMetrics(Collector):
    """The metrics of the cameras, as their processes count them."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def collect(self) -> Iterator[Metric]:
        """One family of each name, with the samples of all processes."""
        found: dict[str, Metric] = {}
        for family in self._children.metrics():
            metric = found.setdefault(family["name"], Metric(family["name"], family["help"], family["type"]))
            for name, labels, value in family["samples"]:
                metric.add_sample(name, labels, value)
        yield from found.values()
