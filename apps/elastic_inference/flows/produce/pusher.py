"""Pushes the newest frame of each stream into the queues of one Redis, many streams in one round trip.

Called by `stream_manager`; streams offer frames from their own threads, and push them in these threads, since waking
another one for each frame would cost CPU. Frames offered during a round trip are collected for the next one. A thread
that must not wait for Redis leaves the answer to the pusher's own thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from redis.exceptions import ResponseError

from elastic_inference.adapters.frame_queue import PushOutcome, PushUnderway, QueueProducer, ask_sizes, push_many
from elastic_inference.adapters.redis_connection import connect, explain, is_cluster
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.produce.queue_sink import QUEUE_ERRORS, Permit, QueueSink, QueueState
from elastic_inference.flows.produce.source_watch import SourceReport
from elastic_inference.flows.produce.stream_needs import StreamNeeds

PART = "push"
IDLE_S = 1.0
# Longer than any round trip: connecting (3 s) and an answer (5 s), twice.
END_LIMIT_S = 20.0
_Pushes = list[tuple[QueueSink, Frame]]


class Pusher:
    """One connection, used by one thread at a time. Holds at most one frame of each sink: a newer one replaces it.

    Its own thread sends reports, and pushes frames that were offered while another thread pushed.
    """

    def __init__(self, target: config.RedisTarget, key: str, lifecycle: Lifecycle, name: str) -> None:
        """`key` is a key on the server; `name` shows in Redis' CLIENT LIST and in the list of stuck parts."""
        self.connection = PipelineConnection(connect(target, key=key, name=name))
        self._lifecycle = lifecycle
        self._condition = threading.Condition()
        self._frames: dict[QueueSink, tuple[Frame, float]] = {}
        self._reports: dict[QueueSink, tuple[SourceReport, int]] = {}
        self._questions: dict[QueueSink, None] = {}
        self._busy = False  # a thread uses the connection
        # A push that another thread has sent, whose answer the own thread reads. `_busy` is then set too.
        self._underway: tuple[_Pushes, PushUnderway] | None = None
        self._ends = False
        self._thread = lifecycle.thread(PART, self._run)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def offer(self, sinks: Sequence[QueueSink], frame: Frame, captured: float, within_s: float | None = None) -> None:
        """Pushes one frame of a stream to some types, now or soon; `captured` is its monotonic time of capture.

        All types share one round trip, since two workers may be handing the stream over: then all change at the same
        frame. With `within_s`, it waits for Redis no longer than that, or twice as long if sending is slow.
        """
        with self._condition:
            replaced = [sink for sink in sinks if sink in self._frames]
            for sink in sinks:
                self._frames[sink] = frame, captured
            free = not (self._busy or self._ends)
            if free:
                self._busy = True
                frames, self._frames = self._frames, {}
        for sink in replaced:
            sink.drop()
        if free and within_s is not None:
            self._push_within(frames, within_s)
        elif free:
            try:
                self._push(frames)
            finally:
                self._leave()

    def report(self, sink: QueueSink, report: SourceReport, dropped: int) -> None:
        """Reports the source's state soon."""
        with self._condition:
            self._reports[sink] = report, dropped
            self._condition.notify()

    def ask(self, sinks: Iterable[QueueSink]) -> None:
        """Asks soon which frames these streams need, all in one round trip."""
        with self._condition:
            self._questions.update(dict.fromkeys(sinks))
            self._condition.notify()

    def forget(self, sink: QueueSink) -> None:
        """Discards the pending frame and report of this sink."""
        with self._condition:
            self._questions.pop(sink, None)
            self._frames.pop(sink, None)
            self._reports.pop(sink, None)

    def close(self) -> None:
        """Ends the thread, after the service's stop has begun, and closes the connection."""
        with self._condition:
            self._ends = True
            self._condition.notify()
        if self._thread.ident is not None:
            self._thread.join(END_LIMIT_S)
        self.connection.close()

    def _run(self) -> None:
        while True:
            self._lifecycle.beat(PART)
            with self._condition:
                if not self._due():
                    self._condition.wait(IDLE_S)
                if not self._due():
                    continue
                if self._ends and self._underway is None:
                    self._lifecycle.end_beat(PART)
                    return
                self._busy = True
                underway, self._underway = self._underway, None
                frames, self._frames = self._frames, {}
                reports, self._reports = self._reports, {}
                questions, self._questions = self._questions, {}
            try:
                if underway is not None:
                    self._finish(*underway)
                self._push(frames)
                self._ask([sink for sink in questions if sink.state.open])
                for sink, (report, dropped) in reports.items():
                    sink.report(report, dropped)
            finally:
                self._leave()

    def _due(self) -> bool:
        """Whether its own thread has something to do."""
        if self._busy:
            return self._underway is not None
        return bool(self._frames or self._reports or self._questions or self._ends)

    def _leave(self) -> None:
        """Lets another thread use the connection."""
        with self._condition:
            self._busy = False
            if self._due():
                self._condition.notify()

    def _push(self, waiting: dict[QueueSink, tuple[Frame, float]]) -> None:
        pushes = self._for_queue(waiting)
        if not pushes:
            return
        try:
            outcomes = push_many([(sink.producer, (frame,)) for sink, frame in pushes])
        except QUEUE_ERRORS as error:
            _failed(pushes, error)
            return
        _settle(pushes, outcomes)

    def _push_within(self, waiting: dict[QueueSink, tuple[Frame, float]], within_s: float) -> None:
        """Pushes, and releases the connection; if Redis takes longer, the pusher's own thread does the rest."""
        left = False
        try:
            pushes = self._for_queue(waiting)
            if not pushes:
                return
            several = [(sink.producer, (frame,)) for sink, frame in pushes]
            if not PushUnderway.possible(several):
                # It must connect first, for example: the pusher's own thread does that.
                with self._condition:
                    replaced = [sink for sink in waiting if sink in self._frames]
                    self._frames = {**waiting, **self._frames}
                for sink in replaced:
                    sink.drop()
                return
            try:
                underway = PushUnderway(several, within_s)
            except QUEUE_ERRORS as error:
                _failed(pushes, error)
                return
            if underway.answered_within(within_s):
                self._finish(pushes, underway)
                return
            with self._condition:
                self._underway, left = (pushes, underway), True
                self._condition.notify()
        finally:
            if not left:
                self._leave()

    def _finish(self, pushes: _Pushes, underway: PushUnderway) -> None:
        try:
            outcomes = underway.finish()
        except QUEUE_ERRORS as error:
            _failed(pushes, error)
            return
        _settle(pushes, outcomes)

    @staticmethod
    def _for_queue(waiting: dict[QueueSink, tuple[Frame, float]]) -> _Pushes:
        """The frames of sinks that are open, each for its type; the others are dropped."""
        now = time.monotonic()
        pushes: _Pushes = []
        for sink, (frame, captured) in waiting.items():
            if sink.open:
                age_ms = (now - captured) * 1000
                pushes.append((sink, _for_type(frame, sink.infer_type, age_ms)))
            else:
                sink.drop()
        return pushes

    def _ask(self, sinks: Sequence[QueueSink]) -> None:
        try:
            answers = ask_sizes([sink.producer for sink in sinks])
        except QUEUE_ERRORS as error:
            for sink in sinks:
                sink.state.failed(error)
            return
        for sink, answer in zip(sinks, answers, strict=True):
            sink.answered(answer)


def _failed(pushes: _Pushes, error: Exception) -> None:
    for sink, _ in pushes:
        sink.failed(error)


def _settle(pushes: _Pushes, outcomes: Sequence[PushOutcome | ResponseError]) -> None:
    for (sink, _), outcome in zip(pushes, outcomes, strict=True):
        if isinstance(outcome, PushOutcome):
            sink.pushed(outcome)
        else:
            sink.failed(outcome)


def _for_type(frame: Frame, infer_type: str, age_ms: float) -> Frame:
    """The frame for one type. Not by `dataclasses.replace`, which takes three times as long."""
    return Frame(frame.name, infer_type, frame.data, frame.seq, frame.ts, age_ms, frame.width, frame.height)


class Pushers:
    """The pushers of one process, one for each Redis with queues; makes the sinks of streams."""

    def __init__(self, settings: config.ProducerSettings, lifecycle: Lifecycle, name: str) -> None:
        """`name` shows in Redis' CLIENT LIST."""
        self._settings = settings
        self._lifecycle = lifecycle
        self._name = name
        self._by_type = is_cluster(settings.queue)
        self._pushers: dict[str, Pusher] = {}
        self._states: dict[str, QueueState] = {}
        self._users: dict[str, int] = {}

    def sink(
        self,
        stream: str,
        infer_type: str,
        metrics: ProducerMetrics,
        permit: Permit | None,
        needs: StreamNeeds | None = None,
    ) -> tuple[Pusher, QueueSink]:
        """Makes a sink for one stream and one type. `needs` gets the queue's answers while its producer asks."""
        target = self._settings.queue
        # In a cluster each type's keys are in one slot, whose owner may change.
        shard = infer_type if self._by_type else ""
        pusher = self._pushers.get(shard)
        if pusher is None:
            pusher = Pusher(target, keys.legacy_queue(infer_type), self._lifecycle, self._name)
            self._pushers[shard] = pusher
            pusher.start()
        if infer_type not in self._states:
            self._states[infer_type] = QueueState(infer_type, lambda error: explain(error, target), self._lifecycle)
        self._users[infer_type] = self._users.get(infer_type, 0) + 1
        producer = QueueProducer(
            pusher.connection, infer_type, stream, self._settings, permit.lease if permit else None
        )
        return pusher, QueueSink(self._states[infer_type], producer, metrics, permit, needs)

    def release(self, pusher: Pusher, sink: QueueSink) -> None:
        """Call when the sink is no longer used."""
        pusher.forget(sink)
        self._users[sink.infer_type] -= 1
        if not self._users[sink.infer_type]:
            self._states.pop(sink.infer_type).end()

    def close(self) -> None:
        """Ends all threads, after the service's stop has begun."""
        for pusher in self._pushers.values():
            pusher.close()
