"""The worker threads: each takes a frame, infers it and hands a result or a tombstone to the result sender.

Run by the `pipeline`, at most one worker for each inference request. JPEG decoding, resizing and inference release the
interpreter lock. A broken frame never ends a worker. Workers can be added and ended during operation, and their
detectors exchanged between two frames.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from elastic_inference.base.log import Throttle
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason, StaleFrameError
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import Detection, Result
from elastic_inference.domain.sequence import Tombstone
from elastic_inference.flows.inference.pod_context import PodContext
from elastic_inference.flows.inference.result_builder import ResultBuilder
from elastic_inference.flows.inference.result_sender import LOST, ResultSender
from elastic_inference.flows.inference.task_queue import Outgoing, Task

log = logging.getLogger(__name__)

# A worker that has spent this long on one frame is stuck: the service is no longer alive.
STUCK_S = 60.0
_MAX_DETAIL = 200


class Detector(Protocol):
    """Finds objects in one frame; see `FrameDetector`."""

    damaged: bool

    def infer(self, frame: Frame) -> list[Detection]:
        """The frame's detections."""


class WorkerPool:
    """All workers of a pod."""

    def __init__(
        self,
        detectors: Sequence[Detector],
        results: ResultBuilder,
        pod: PodContext,
        sender: ResultSender,
        fresh_s: float = float("inf"),
    ) -> None:
        """One worker, and one thread, for each of `detectors`. A frame older than `fresh_s` is dropped."""
        self._lifecycle = pod.lifecycle
        self._tasks, self._sender = pod.tasks, sender
        self._meter, self._account = pod.meter, pod.account
        self._throttle = Throttle()
        self.fresh_s = fresh_s
        self._drain_until_s = float("inf")
        # Those that no worker uses now. The one used last comes first: its buffers are still in the CPU cache. A worker
        # returns a detector to the list that it took it from, so the former ones go with their list.
        # The builder names the model of the detectors, so both change together.
        self._crew = (list(detectors), results)
        self._count = len(detectors)
        # One entry per worker, which alone writes it.
        self._busy_since_s: list[float] = []
        self._inferred: list[int] = []
        self._failed: list[int] = []
        self._threads: list[threading.Thread] = []
        self._free: list[int] = []
        self.running = 0

    @property
    def inferred(self) -> int:
        """Frames inferred since the start."""
        return sum(self._inferred)

    @property
    def failed(self) -> int:
        """Frames on which the model failed, since the start."""
        return sum(self._failed)

    @property
    def crew(self) -> tuple[list[Detector], ResultBuilder]:
        """The detectors that no worker uses now, and the builder of their results."""
        return self._crew

    def stuck(self, now_s: float) -> bool:
        """Whether a worker has spent STUCK_S on one frame."""
        return now_s - min(self._busy_since_s, default=float("inf")) >= STUCK_S

    def start(self) -> None:
        """Starts the threads."""
        self.resize(self._count)

    def resize(self, count: int) -> None:
        """Main thread: sets the number of workers, at most one for each detector. Frames in hand are finished.

        Call it again while `running` differs: workers that were told to end may still be busy.
        """
        count = min(count, self._count)
        if count < self.running:
            self._tasks.end(self.running - count, drain=False)
            self.running = count
        for _ in range(min(count - self.running, self._count - self._alive)):
            self._add_worker()
            self.running += 1

    def exchange(self, detectors: Sequence[Detector], count: int, results: ResultBuilder | None = None) -> bool:
        """Main thread: gives `count` workers other detectors, from their next frame on; `results` if it changes too.

        False if workers have to end first, since there are fewer detectors: call it again.
        """
        self._count = min(self._count, len(detectors))
        self.resize(min(count, self._count))
        if self._alive > len(detectors):
            return False
        self._crew, self._count = (list(detectors), results or self._crew[1]), len(detectors)
        self.resize(count)
        return True

    def drain(self, until_s: float) -> None:
        """Gives up frames that no worker has begun by this monotonic time, and counts them as lost."""
        self._drain_until_s = until_s

    def join(self) -> None:
        """Call after the last frame was added: waits until all are done and the threads have ended."""
        self._tasks.end(self.running)
        for thread in self._threads:
            thread.join()

    @property
    def _alive(self) -> int:
        return len(self._threads) - len(self._free)

    def _add_worker(self) -> None:
        if self._free:
            index = self._free.pop()
        else:
            index = len(self._threads)
            self._busy_since_s.append(float("inf"))
            self._inferred.append(0)
            self._failed.append(0)
        thread = self._lifecycle.thread(f"infer-{index}", partial(self._work, index), may_end=True)
        self._threads[index : index + 1] = [thread]
        thread.start()

    def _work(self, index: int) -> None:
        # Read before the wait for a frame, which costs CPU time too.
        began_s = time.thread_time()
        while (task := self._tasks.take()) is not None:
            began = self._busy_since_s[index] = time.monotonic()
            found: Outgoing | Tombstone
            if began >= self._drain_until_s:
                found = self._lose(task)
            elif began - task.arrived_s > self.fresh_s:
                found = self._drop(task)
            else:
                detectors, results = self._crew
                detector = detectors.pop()
                found = self._infer(detector, results, task)
                detectors.append(detector)
                del detectors, detector, results  # a worker that waits must not keep those of a former engine
            if wasted := isinstance(found, Tombstone):
                self._failed[index] += found.reason == InvalidReason.INFERENCE
                self._sender.discard(task.slot, found, task.size)
            else:
                self._inferred[index] += 1
                self._sender.finish(task.slot, found, task.arrived_s)
            self._busy_since_s[index] = float("inf")
            ended_s = time.thread_time()
            if wasted:
                self._meter.frame_wasted(ended_s - began_s)
            began_s = ended_s
        self._free.append(index)

    def _lose(self, task: Task) -> Tombstone:
        self._account.lost(1, "the drain was too short for them")
        return Tombstone(task.stream, task.popped.order, LOST)

    def _drop(self, task: Task) -> Tombstone:
        self._account.stale(1)
        return Tombstone(task.stream, task.popped.order, DropReason.STALE)

    @staticmethod
    def _result(detector: Detector, results: ResultBuilder, task: Task) -> Result:
        detections = detector.infer(task.popped.frame)
        return results.build(task.stream, task.popped, detections, damaged=detector.damaged)

    def _infer(self, detector: Detector, results: ResultBuilder, task: Task) -> Outgoing | Tombstone:
        frame = task.popped.frame
        try:
            return self._result(detector, results, task), frame.data
        except StaleFrameError:
            return self._drop(task)
        except InvalidFrameError as error:
            found = error
        except RuntimeError as error:
            text = (str(error).strip().splitlines() or [repr(error)])[-1]
            found = InvalidFrameError(InvalidReason.INFERENCE, text[:_MAX_DETAIL])
        except Exception as error:  # one bad frame must not end the worker
            found = InvalidFrameError(InvalidReason.INFERENCE, repr(error)[:_MAX_DETAIL])
            if note := self._throttle.note((task.stream, type(error))):
                log.exception("a frame of %s failed %s", task.stream, note)
        self._account.invalid(task.stream, found)
        return Tombstone(task.stream, task.popped.order, found.reason)
