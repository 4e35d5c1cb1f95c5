"""Follows the CPU quota of a running pod, since Kubernetes resizes pods in place.

Called by the main thread of the `pipeline`. The load counts with the new quota at once, and so does the number of
workers. For more streams than the model was compiled for, a thread compiles it again while the pod infers with what it
has; the workers change over between two frames. With less CPU the compiled streams stay: only workers end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elastic_inference.base.cpu_quota import CpuAllowance, CpuWatch
from elastic_inference.base.memory_limit import memory_limit, memory_used
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.inference.engine import SPARE_REQUESTS, Engine, reason
from elastic_inference.flows.inference.frame_detector import FrameDetector
from elastic_inference.flows.inference.pod_context import PodContext
from elastic_inference.flows.inference.side_work import SideWork
from elastic_inference.flows.inference.task_queue import frames_ahead
from elastic_inference.flows.inference.utilisation import Utilisation
from elastic_inference.flows.inference.warm_up import infer_once
from elastic_inference.flows.inference.workers import WorkerPool

log = logging.getLogger(__name__)

# Measured with three models: a further stream and its request take 0.17 to 0.35 of the memory that the model takes with
# its first.
_STREAMS_AS_LARGE_AS_A_MODEL = 3
# The other half of the remaining memory is for images.
_ROOM_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class PodCpu:
    """How the pod reads its quota, and how many bytes the model took when it was loaded."""

    watch: CpuWatch
    model_bytes: int

    @property
    def room(self) -> float:
        """How many bytes another model may take."""
        return _ROOM_SHARE * (memory_limit() - memory_used())


class CpuFollower:
    """Adapts one pod to its quota. All methods but `_compile` belong to the main thread."""

    def __init__(
        self,
        cpu: PodCpu,
        engine: Engine,
        workers: WorkerPool,
        pod: PodContext,
        *,
        make_detectors: Callable[[], Sequence[FrameDetector]],
        tune: Callable[[int, float], None],
    ) -> None:
        """`tune` gets the new number of workers, and the capacity in frames a second."""
        self._cpu, self._engine, self._workers = cpu, engine, workers
        self._lifecycle, self._tasks = pod.lifecycle, pod.tasks
        self._work = SideWork(pod.meter)
        self._make_detectors, self._tune = make_detectors, tune
        self._streams = engine.streams
        self._compiled_for = self._tried = cpu.watch.allowance
        self._compiling: threading.Thread | None = None
        # Set by the thread that compiles, and taken by the main thread.
        self._made: list[FrameDetector] = []

    @property
    def compiling(self) -> bool:
        """Whether the model is being compiled again, or its workers have yet to change over."""
        return self._compiling is not None

    @property
    def room(self) -> float:
        """How many bytes another model may take."""
        return self._cpu.room

    @property
    def allowance(self) -> CpuAllowance:
        """The CPU that the pod may use, as last read."""
        return self._cpu.watch.allowance

    def adopt(
        self,
        engine: Engine,
        compiled_for: CpuAllowance,
        make_detectors: Callable[[], Sequence[FrameDetector]],
        model_bytes: int,
    ) -> None:
        """Follows the quota with another model from now on. Not while `compiling`."""
        self._engine, self._make_detectors = engine, make_detectors
        self._cpu = PodCpu(self._cpu.watch, model_bytes)
        self._streams = engine.streams
        self._compiled_for = self._tried = compiled_for

    def wanted(self, streams: int) -> int:
        """The number of workers for a model with this many streams."""
        allowance = self._cpu.watch.allowance
        return SPARE_REQUESTS + (streams if allowance.quota is None else min(streams, allowance.threads))

    def look(self, utilisation: Utilisation, now_s: float) -> None:
        """Reads the quota, at most once a second, and follows changes. Call it before each measurement."""
        # Other programs may have slowed the warm-up. A pop of one frame costs about as much as one of four.
        self._tasks.pop_ahead(frames_ahead(utilisation.capacity_fps))
        if not self._engine.on_cpu:
            return  # the device's own capacity counts
        before = self._cpu.watch.allowance
        if self._cpu.watch.changed(now_s):
            now = self._cpu.watch.allowance
            log.info("the CPU quota is now %s, and was %s", _shown(now), _shown(before))
            utilisation.resize(fixed_cores(now), now.limit)
            self._tune(self.wanted(self._streams), utilisation.capacity_fps)
        if self._compiling is not None:
            self._work.count()
        if self._compiling is not None and not self._compiling.is_alive():
            self._exchange(utilisation)
        elif self._compiling is None and self._engine.settled and self._must_compile():
            self._compile_beside()
        self._workers.resize(self.wanted(self._streams))

    def close(self, timeout_s: float) -> None:
        """Waits until the model is compiled, if it is being compiled now: OpenVINO must not be interrupted."""
        if self._compiling is not None:
            self._compiling.join(timeout_s)

    def _must_compile(self) -> bool:
        now, then = self._cpu.watch.allowance, self._compiled_for
        pinned = then.quota is None and now.quota is not None
        return (pinned or now.threads > then.threads) and now != self._tried

    def _compile_beside(self) -> None:
        self._tried = allowance = self._cpu.watch.allowance
        needed = self._cpu.model_bytes * (1 + allowance.threads / _STREAMS_AS_LARGE_AS_A_MODEL)
        if needed > self._cpu.room:
            log.warning(
                "this pod continues with %d requests at a time: to compile the model for %d would take %d MiB of "
                "memory. Raise its memory limit, or restart it",
                *(self._streams, allowance.threads, int(needed) >> 20),
            )
            return
        self._compiling = self._lifecycle.thread("compile", lambda: self._compile(allowance), may_end=True)
        self._compiling.start()

    def _compile(self, allowance: CpuAllowance) -> None:
        began_s = time.monotonic()
        self._work.begin()
        try:
            self._engine.compile_again(allowance.threads)
            detectors = list(self._make_detectors())
            infer_once(detectors)
        except Exception as error:  # the pod works as it is
            text = "the model could not be compiled for a quota of %s: %s"
            known = isinstance(error, (RuntimeError, ElasticInferenceError))  # OpenVINO's and ours
            log.warning(text, _shown(allowance), reason(error), exc_info=not known)
            return
        finally:
            self._work.end()
        self._made = detectors
        log.info("the model was compiled again in %.1f s", time.monotonic() - began_s)

    def _exchange(self, utilisation: Utilisation) -> None:
        if not self._made:  # it failed
            self._compiling = None
            return
        streams = len(self._made) - SPARE_REQUESTS
        wanted = self.wanted(streams)
        if self._workers.exchange(self._made, wanted):
            self._streams, self._compiled_for = streams, self._tried
            self._made, self._compiling = [], None
            self._tune(wanted, utilisation.capacity_fps)
            log.info("%d requests at a time", streams)


def fixed_cores(allowance: CpuAllowance) -> float | None:
    """The cores that are certainly available to the pod: its quota."""
    return None if allowance.quota is None else allowance.limit


def _shown(allowance: CpuAllowance) -> str:
    return "none" if allowance.quota is None else f"{allowance.quota:g}"
