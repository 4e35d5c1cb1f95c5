"""Parts of a pod for unit tests: popped frames, tasks, a result sender whose publisher records. Without Redis."""

from __future__ import annotations

import threading
from collections.abc import Sequence, Set

from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import PoppedFrame
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import Result
from elastic_inference.domain.sequence import Tombstone
from elastic_inference.flows.inference.frame_account import FrameAccount
from elastic_inference.flows.inference.load_meter import LoadMeter
from elastic_inference.flows.inference.pod_context import PodContext
from elastic_inference.flows.inference.recent_frames import RecentFrames
from elastic_inference.flows.inference.redis_health import RedisHealth
from elastic_inference.flows.inference.result_sender import ResultSender
from elastic_inference.flows.inference.task_queue import Outgoing, Task, TaskQueue
from elastic_inference.flows.inference.utilisation import ClaimedDrops
from tests.support.results import make_result

STREAM = "cam:face:inferred"


def popped(order: int, queue_ms: float = 1.0, name: str = "cam") -> PoppedFrame:
    """A popped frame without an image."""
    return PoppedFrame(Frame(name, "face", b"jpeg", order, None, 0.0, 8, 8), order, queue_ms, 0.0)


def outgoing(order: int, stream: str = STREAM) -> Outgoing:
    """A result with its JPEG."""
    return make_result(stream=stream, order=order), b"jpeg"


class IdleEngine:
    """What the parts ask of an engine."""

    device = "CPU"
    on_cpu = True

    def busy_s(self) -> float:
        """No load."""
        return 0.0


class RecordingPublisher:
    """Keeps what it is given. `errors` are raised first, one for each call."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.precisions: set[str] = set()
        self.tombstones: list[Tombstone] = []
        self.errors: list[Exception] = []
        self.refused: Set[int] = frozenset()
        self.removed = False
        self.events_run = False

    def publish(self, batch: Sequence[tuple[Result, bytes]], tombstones: Sequence[Tombstone] = ()) -> Set[int]:
        """Raises the next error, or keeps the orders of the results and the tombstones."""
        if self.errors:
            raise self.errors.pop(0)
        if batch:
            self.batches.append([result.order for result, _ in batch])
            self.precisions |= {result.precision for result, _ in batch}
        self.tombstones += tombstones
        return self.refused

    def remove_worker(self) -> None:
        """Records it."""
        self.removed = True

    @property
    def orders(self) -> list[int]:
        """The orders of all results."""
        return [order for batch in self.batches for order in batch]


class Parts:
    """A task queue and a result sender, wired as in the pipeline. `start` runs the sender; leaving ends it."""

    def __init__(self, ahead: int = 4, fresh_s: float = float("inf")) -> None:
        self.registry = CollectorRegistry()
        metrics = InferenceMetrics(self.registry, "face", "model")
        self.tasks, self.lifecycle = TaskQueue(2, ahead), Lifecycle("inference")
        meter = LoadMeter(IdleEngine(), ClaimedDrops(5.0, 1.0), metrics)
        self.context = PodContext(self.tasks, meter, FrameAccount(metrics), self.lifecycle)
        self.publisher = RecordingPublisher()
        self.reports = 0
        self.report_error: Exception | None = None
        self.recent = RecentFrames(1 << 20)
        self.sender = ResultSender(
            self.publisher, self._report, self.context, self.health("broker"), fresh_s, recent=self.recent
        )
        self._thread = threading.Thread(target=self.sender.run)

    def health(self, part: str) -> RedisHealth:
        """Readiness of `queue` or `broker`; errors are explained by their text."""
        self.lifecycle.declare(part)
        return RedisHealth(part, self.lifecycle, str)

    def add(self, *orders: int, stream: str = STREAM) -> list[Task]:
        """Adds frames of one stream and hands them to the workers."""
        slots = self.sender.reserve([stream] * len(orders))
        tasks = [Task(popped(order), stream, slot) for order, slot in zip(orders, slots, strict=True)]
        self.tasks.add(tasks)
        return tasks

    def finish(self, *orders: int) -> None:
        """Frames of one stream that have been inferred."""
        for task in self.add(*orders):
            self.sender.finish(task.slot, outgoing(task.popped.order))

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value, 0 when there is none."""
        return self.registry.get_sample_value(name, {"infer_type": "face", "model": "model", **labels}) or 0.0

    def start(self) -> None:
        """Runs the result sender in a thread."""
        self._thread.start()

    def end(self) -> None:
        """Ends the result sender once all is sent."""
        self.sender.close()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self) -> Parts:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _report(self) -> None:
        self.reports += 1
        if self.report_error is not None:
            raise self.report_error
