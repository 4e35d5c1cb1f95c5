"""The load of eight streams and those who watch it: the test's own cameras, a reader of results, viewers."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections import Counter, defaultdict

import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import REDIS_ERRORS, connect, explain
from elastic_inference.adapters.stream_broker.publisher import RESULT_FIELD
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import parse_result
from elastic_inference.domain.result_message import split_message
from elastic_inference.flows.produce.queue_sink import QueueSink, QueueState
from elastic_inference.flows.produce.source_watch import SourceReport, SourceState
from tests.support.background import Background
from tests.support.viewer import ReconnectingViewer

TYPE = "face"
FPS = 8.0
REPORT_EVERY_S = 2.0
# As spa/src/painter/feed.ts.
SILENT_S = 6.0


class Pusher(Background):
    """A camera in a thread of this process: it pushes as the camera service does, with its counters.

    It pushes while `gate` is set; it sets `idle` once it has seen the gate closed.
    """

    def __init__(
        self, target: config.RedisTarget, name: str, image: bytes, size: tuple[int, int], gate: threading.Event
    ) -> None:
        super().__init__()
        self.name = name
        self.fps = FPS
        self.idle = True
        # Frames whose push got no reply: they may have entered the queue nevertheless.
        self.unanswered: set[int] = set()
        self._image, self._size, self._gate = image, size, gate
        self._seq = 0
        self._metrics = ProducerMetrics(CollectorRegistry(), name, (TYPE,))
        client = connect(target, key=keys.legacy_queue(TYPE), name=name)
        self._sink = QueueSink(
            QueueState(TYPE, lambda error: explain(error, target), Lifecycle(name)),
            QueueProducer(client, TYPE, name, config.QueueRules()),
            self._metrics,
        )

    @property
    def pushed(self) -> int:
        """Frames that entered the queue."""
        return int(self._metrics.pushed[TYPE]._value.get())

    @property
    def refused(self) -> int:
        """Frames that this camera discarded and counted."""
        return self.without_memory + int(self._metrics.dropped[TYPE, DropReason.SOURCE]._value.get())

    @property
    def without_memory(self) -> int:
        """Those of `refused` for which Redis had no memory. A busy machine refuses none of them."""
        return int(self._metrics.dropped[TYPE, DropReason.QUEUE_MEMORY]._value.get())

    def run(self) -> None:
        due = report = 0.0
        while not self._stop.is_set():
            if not self._gate.is_set():
                self.idle = True
                self._gate.wait(0.05)
                due = time.monotonic()
                continue
            self.idle = False
            now = time.monotonic()
            if now < due:
                self._stop.wait(min(due - now, 0.05))
                continue
            due = max(due + 1 / self.fps, now - 0.5)
            self._push()
            if now >= report:
                report = now + REPORT_EVERY_S
                self._sink.report(SourceReport(SourceState.LIVE, self.fps, 0), 0)
        self._sink.close()

    def _push(self) -> None:
        self._seq += 1
        tried, before = self._sink.open, self.pushed
        self._sink.push(Frame(self.name, TYPE, self._image, self._seq, time.time(), 0.0, *self._size))
        if tried and self.pushed == before:
            self.unanswered.add(self._seq)


class ResultReader(Background):
    """Reads results_<type>, as an application does, and records each result once."""

    def __init__(self, target: config.RedisTarget) -> None:
        super().__init__()
        self.by_pod: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        # Per stream: (when it was read, when it was captured), in monotonic seconds.
        self.seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.pushers: dict[str, Pusher] = {}
        self._known: set[tuple[str, int, int | None]] = set()
        self._client: redis.Redis = connect(target, name="test-results")

    def run(self) -> None:
        name = keys.results(TYPE)
        last: bytes | str = "0-0"
        while not self._stop.is_set():
            try:
                answer = self._client.xread({name: last}, count=500, block=300)
            except (*REDIS_ERRORS, redis.RedisError):
                # A new server, or a stream that was created again, begins with lower ids.
                last = "0-0"
                self._stop.wait(0.1)
                continue
            now = time.monotonic()
            for _, entries in answer or ():  # type: ignore[union-attr]
                for identity, fields in entries:
                    last = identity
                    self._note(json.loads(fields[RESULT_FIELD.encode()]), now)
        self._client.close()

    @property
    def count(self) -> int:
        """Results so far."""
        return len(self._known)

    def _note(self, result: dict[str, object], now: float) -> None:
        stream, order, seq = str(result["stream"]), int(str(result["order"])), result["seq"]
        identity = (stream, order, seq if isinstance(seq, int) else None)
        if identity in self._known:
            return
        self._known.add(identity)
        name = stream.partition(":")[0]
        self.by_pod[str(result["pod"])] += 1
        latency_s = sum(float(str(result[each])) for each in ("age_ms", "queue_ms", "infer_ms")) / 1000
        self.seen[name].append((now, now - latency_s))
        pusher = self.pushers.get(name)
        if pusher is not None and seq in pusher.unanswered:
            self.unanswered[name] += 1

    def back_at(self, name: str, since: float) -> float | None:
        """When the first result of a frame that was captured after `since` was read."""
        later = [at for at, captured in list(self.seen[name]) if captured >= since]
        return min(later) if later else None

    def longest_pause_s(self, name: str, begin: float, end: float) -> float:
        """The longest time without a result between two moments."""
        times = [begin, *(at for at, _ in list(self.seen[name]) if begin < at < end), end]
        return max(after - before for before, after in itertools.pairwise(times))


class Watcher(ReconnectingViewer):
    """A viewer of one of the three formats. Like the dashboard, it also reconnects when nothing arrives for a while."""

    def __init__(self, url: str, stream: str, form: str, token: str) -> None:
        query = f"?format={form}" if form != "drawn" else ""
        address = f"{url}/{keys.stream_id(stream, TYPE)}{query}"
        super().__init__(address, {"Authorization": f"Bearer {token}"}, silent_s=SILENT_S)
        self.form = form
        self.received: list[tuple[float, float]] = []

    def _take(self, message: str | bytes) -> None:
        now = time.monotonic()
        if self.form == "drawn":
            assert message[:2] == b"\xff\xd8"
            self.received.append((now, now))
            return
        document = message if isinstance(message, str) else split_message(message)[0]
        result = parse_result(document)
        self.received.append((now, now - (result.age_ms + result.queue_ms + result.infer_ms) / 1000))

    def back_at(self, since: float) -> float | None:
        """When the first frame that was captured after `since` arrived."""
        with contextlib.suppress(ValueError):
            return min(at for at, captured in list(self.received) if captured >= since)
        return None
