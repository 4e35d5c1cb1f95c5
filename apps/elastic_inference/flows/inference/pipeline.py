"""The inference flow of one pod: pop, decode, infer, publish, each in threads of its own.

    pop thread ──tasks──► worker threads, one per inference request ──outbox──► publish thread

Called by `service`. The pop thread takes no more frames than the workers will start on within a few hundredths of a
second, so that what waits does so in the queue, where the newest frames win. Workers decode, infer and read the
model's output; JPEG decoding, resizing and inference leave the interpreter to the others. The publish thread sends
what has gathered, each stream in its own order. A stop ends the pop thread first, and then each thread once what it
was given is done: no frame is lost.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from redis.exceptions import RedisError

from elastic_inference.adapters.frame_queue import PopBatch, PoppedFrame, QueueConsumer
from elastic_inference.adapters.redis_connection import REDIS_ERRORS
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.lifecycle import DRAIN_LIMIT_S, Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import InferenceMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason
from elastic_inference.domain.result import Detection, Result
from elastic_inference.flows.inference.engine import Engine
from elastic_inference.flows.inference.ordering import Place, StreamOrder
from elastic_inference.flows.inference.utilisation import DropTakes, Reading, Sample, Utilisation
from elastic_inference.flows.inference.worker import FrameWorker, make_workers

log = logging.getLogger(__name__)

POP_WAIT_S = 1.0
TICK_S = 0.5
REPORT_EVERY_S = 1.0
# What is popped ahead keeps the workers busy for so long while the next batch is fetched.
AHEAD_S = 0.04
MAX_AHEAD = 16
# While results come faster, they are published together at this pace: a publish costs much more than a result. Where
# frames wait for a worker, throughput counts more than a few milliseconds.
GATHER_S = 0.005
GATHER_FULL_S = 0.025
# A worker that has been at one frame for so long hangs: the service is no longer alive.
STUCK_S = 60.0
# Results that could not be published for so long are given up, and counted as lost.
PUBLISH_LIMIT_S = 10.0
# A Redis that is away, and one that refuses: a missing right, another server's port. Neither is a bug.
_CONTACT_ERRORS: tuple[type[Exception], ...] = (*REDIS_ERRORS, RedisError)
# Leaves a drain the time to close its connections within DRAIN_LIMIT_S.
_DRAIN_MARGIN_S = 3.0

Outgoing = tuple[Result, bytes]


@dataclass(frozen=True, slots=True)
class Identity:
    """What each result says of the pod that made it, and the least confidence of its detections."""

    infer_type: str
    pod: str
    model: str
    precision: str
    threshold: float


@dataclass(slots=True, eq=False)
class _Task:
    popped: PoppedFrame
    stream: str
    place: Place[Outgoing]


class Pipeline:
    """One pod's flow; `run` it once."""

    def __init__(
        self,
        *,
        engine: Engine,
        consumer: QueueConsumer,
        publisher: ResultPublisher,
        identity: Identity,
        metrics: InferenceMetrics,
        lifecycle: Lifecycle,
        explain: Callable[[Exception, str], str],
    ) -> None:
        """`explain` says in a line what a Redis error means, for `queue` or `broker`."""
        self._engine = engine
        self._consumer = consumer
        self._publisher = publisher
        self._identity = identity
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._explain = explain
        self._workers = make_workers(engine, identity.threshold)
        self._busy_since = [float("inf")] * len(self._workers)
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wants_room = False
        self._ahead = 1
        self._lock = threading.Lock()
        self._order: StreamOrder[Outgoing] = StreamOrder()
        self._outbox: list[Outgoing] = []
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._in_hand = 0
        self._max_in_hand = 1
        self._inferred = 0
        self._rated_drops = 0
        # CPU time of all threads on frames that proved broken, and the pop thread's on each frame of its last batch.
        self._spoilt_s = 0.0
        self._pop_s = 0.0
        self._never_starved = True
        self._popping_since: float | None = None
        self._reading: Reading | None = None
        self._throttle = Throttle()
        self._drain_until = float("inf")

    def run(self, make_utilisation: Callable[[], Utilisation], takes: DropTakes, first_fps: float) -> None:
        """Runs until the lifecycle stops and what is in hand is published.

        `make_utilisation` is asked at the start, and again when the engine has moved to another device.
        `first_fps` is the warm-up's capacity, frames a second: it says how many frames to pop ahead.
        """
        self._ahead = max(1, min(MAX_AHEAD, round(first_fps * AHEAD_S)))
        # What is decoded, waiting or unpublished: bounds memory while the broker is away.
        self._max_in_hand = 4 * (len(self._workers) + self._ahead)
        self._takes = takes
        workers = [
            threading.Thread(target=self._work, args=(worker, index), name=f"infer-{index}")
            for index, worker in enumerate(self._workers)
        ]
        pop = threading.Thread(target=self._pop, name="pop")
        publish = threading.Thread(target=self._publish, name="publish")
        for thread in (publish, *workers, pop):
            thread.start()
        utilisation = make_utilisation()
        while not self._lifecycle.wait_stop(TICK_S):
            if self._engine.look_for_devices():
                log.info("the model now runs on %s", self._engine.device)
                utilisation = make_utilisation()
            self._measure(utilisation)
        self._lifecycle.end_beat("infer")
        self._drain_until = time.monotonic() + DRAIN_LIMIT_S - _DRAIN_MARGIN_S
        self._room.put(None)
        pop.join()
        for _ in workers:
            self._tasks.put(None)
        for thread in workers:
            thread.join()
        self._wake.put(False)
        publish.join()
        log.info("drained: %d frames inferred in all", self._inferred)

    # The pop thread.

    def _pop(self) -> None:
        backoff = Backoff()
        connected = False
        began_s = time.thread_time()
        while not self._lifecycle.stopping:
            self._lifecycle.beat("pop")
            if not self._wait_for_room():
                continue
            try:
                if not connected:
                    self._consumer.load_scripts()
                    connected = True
                    backoff.reset()
                    self._lifecycle.set_ready("queue")
                self._popping_since = asked_at = time.monotonic()
                batch = self._consumer.pop(self._ahead, POP_WAIT_S)
                self._popping_since = None
            except Exception as error:  # noqa: BLE001  also a bug: the pod must go on trying
                connected = False
                self._popping_since = None
                self._failed("queue", error, "a pop")
                self._lifecycle.wait_stop(backoff.next_s())
                continue
            self._accept(batch, asked_at)
            ended_s = time.thread_time()
            self._share_out(batch, ended_s - began_s)
            began_s = ended_s
        self._close_consumer()
        self._lifecycle.end_beat("pop")

    def _close_consumer(self) -> None:
        """Puts back what a wait that an outage broke off had brought; what can't be put back is lost, and counted."""
        try:
            self._consumer.close()
        except _CONTACT_ERRORS as error:
            log.debug("the queue could not be left in order: %s", error)
        if lost := self._consumer.legacy_in_hand:
            self._metrics.lost.inc(lost)
            log.warning("%d frames are lost: they could not be put back into the queue", lost)

    def _wait_for_room(self) -> bool:
        """Waits until few frames wait for a worker; False when it is time to look around first."""
        low = self._ahead // 2
        self._wants_room = True
        while self._tasks.qsize() > low or self._in_hand >= self._max_in_hand:
            try:
                self._room.get(timeout=1.0)
            except queue.Empty:
                return False
            if self._lifecycle.stopping:
                return False
            self._wants_room = True
        self._wants_room = False
        return True

    def _accept(self, batch: PopBatch, asked_at: float) -> None:
        now = time.monotonic()
        metrics = self._metrics
        longest_ms = 0.0
        tasks = []
        with self._lock:
            for popped in batch.frames:
                stream = keys.stream_id(popped.frame.name, self._identity.infer_type)
                tasks.append(_Task(popped, stream, self._order.take_place(stream)))
                longest_ms = max(longest_ms, popped.queue_ms)
            self._in_hand += len(tasks)
        for task in tasks:
            self._tasks.put(task)
        # A frame that had waited longer than this pop took was there before the pod asked.
        if batch.waiting == 0 and longest_ms / 1000 <= now - asked_at:
            self._never_starved = False
        for task in tasks:
            metrics.queue_wait_s.observe(task.popped.queue_ms / 1000)
        if tasks or batch.invalid:
            metrics.popped.inc(len(tasks) + len(batch.invalid))
        for invalid in batch.invalid:
            self._count_invalid(invalid.stream, invalid.error)
        rated = 0
        for reason, count in batch.dropped.items():
            metrics.dropped[reason].inc(count)
            if reason in (DropReason.QUEUE_FULL, DropReason.STALE):
                rated += count
        self._rated_drops += self._takes.take(now, rated)

    def _share_out(self, batch: PopBatch, spent_s: float) -> None:
        """Each frame's part of the CPU time of a pop; what only a worker finds broken adds its own part there."""
        if count := len(batch.frames) + len(batch.invalid):
            self._pop_s = spent_s / count
        if batch.invalid:
            self._spoil(self._pop_s * len(batch.invalid))

    def _spoil(self, spent_s: float) -> None:
        with self._lock:
            self._spoilt_s += spent_s

    # The worker threads.

    def _work(self, worker: FrameWorker, index: int) -> None:
        # Taken before the wait for a task, which costs CPU time too.
        began_s = time.thread_time()
        while (task := self._tasks.get()) is not None:
            if self._wants_room and self._tasks.qsize() <= self._ahead // 2:
                self._wants_room = False
                self._room.put(None)
            outgoing: Outgoing | None = None
            self._busy_since[index] = time.monotonic()
            frame = task.popped.frame
            try:
                if self._busy_since[index] < self._drain_until:
                    outgoing = self._result(task, worker.infer(frame)), frame.data
                else:
                    self._metrics.lost.inc()
            except InvalidFrameError as error:
                self._count_invalid(task.stream, error)
            except RuntimeError as error:
                text = (str(error).strip().splitlines() or [repr(error)])[-1]
                self._count_invalid(task.stream, InvalidFrameError(InvalidReason.INFERENCE, text[:200]))
            except Exception as error:  # one frame's trouble must not end the worker
                self._count_invalid(task.stream, InvalidFrameError(InvalidReason.INFERENCE, repr(error)[:200]))
                if self._throttle.allow((task.stream, type(error))):
                    log.exception("a frame of %s failed (said once a minute)", task.stream)
            self._finish(task, outgoing)
            self._busy_since[index] = float("inf")
            ended_s = time.thread_time()
            if outgoing is None:
                self._spoil(ended_s - began_s + self._pop_s)
            began_s = ended_s

    def _finish(self, task: _Task, outgoing: Outgoing | None) -> None:
        with self._lock:
            if outgoing is not None:
                self._inferred += 1
            else:
                self._in_hand -= 1
            ready = self._order.finish(task.place, outgoing)
            wake = bool(ready) and not self._outbox
            self._outbox += ready
        if wake:
            self._wake.put(True)

    def _result(self, task: _Task, detections: list[Detection]) -> Result:
        popped, identity = task.popped, self._identity
        frame = popped.frame
        arrived_ms = self._publisher.server_ms(popped.popped_monotonic)
        return Result(
            stream=task.stream,
            type=identity.infer_type,
            model=identity.model,
            precision=identity.precision,
            device=self._engine.device,
            order=popped.order,
            seq=frame.seq,
            ts=frame.ts,
            width=frame.width,
            height=frame.height,
            pod=identity.pod,
            age_ms=frame.age_ms,
            queue_ms=popped.queue_ms,
            infer_ms=(time.monotonic() - popped.popped_monotonic) * 1000,
            detections=tuple(detections),
            arrived_ms=None if arrived_ms is None else arrived_ms - popped.queue_ms,
        )

    def _count_invalid(self, stream: str, error: InvalidFrameError) -> None:
        self._metrics.invalid[error.reason].inc()
        if self._throttle.allow((stream, error.reason)):
            log.warning("stream %s: %s; skipped (said once a minute)", stream or "(unknown)", error)

    # The publish thread.

    def _publish(self) -> None:
        self._lifecycle.beat("publish")
        report_at = time.monotonic()
        sent_at = 0.0
        going = True
        while going or self._outbox:
            with contextlib.suppress(queue.Empty):
                going = self._wake.get(timeout=max(0.0, report_at - time.monotonic())) and going
            if going and self._outbox:
                gather_s = GATHER_FULL_S if self._tasks.qsize() else GATHER_S
                pause_s = sent_at + gather_s - time.monotonic()
                if pause_s > 0:
                    time.sleep(pause_s)
            with self._lock:
                batch, self._outbox = self._outbox, []
            if batch:
                sent_at = time.monotonic()
                self._send(batch)
            if time.monotonic() >= report_at:
                report_at = time.monotonic() + REPORT_EVERY_S
                self._lifecycle.beat("publish")
                self._report()
        try:
            self._publisher.remove_worker()
        except _CONTACT_ERRORS as error:
            log.debug("could not leave the registry: %s", error)
        self._lifecycle.end_beat("publish")

    def _send(self, batch: list[Outgoing]) -> None:
        backoff = Backoff()
        until = min(time.monotonic() + PUBLISH_LIMIT_S, self._drain_until + 1.0)
        sent = False
        while True:
            try:
                self._publisher.publish(batch)
                sent = True
                break
            except Exception as error:  # noqa: BLE001  results that can't be sent must not end the thread
                self._failed("broker", error, "a publish")
                if not isinstance(error, _CONTACT_ERRORS):
                    break
            self._lifecycle.beat("publish")
            if time.monotonic() >= until:
                break
            time.sleep(min(backoff.next_s(), max(0.0, until - time.monotonic())))
        with self._lock:
            self._in_hand -= len(batch)
        if self._wants_room:
            self._room.put(None)
        metrics = self._metrics
        if not sent:
            metrics.lost.inc(len(batch))
            if self._throttle.allow("lost"):
                log.warning("%d results are lost: they could not be published (said once a minute)", len(batch))
            return
        self._lifecycle.set_ready("broker")
        metrics.inferred.inc(len(batch))
        for result, _ in batch:
            metrics.inference_s.observe(result.infer_ms / 1000)
            metrics.end_to_end_s.observe((result.age_ms + result.queue_ms + result.infer_ms) / 1000)

    def _report(self) -> None:
        reading, identity = self._reading, self._identity
        rates = (reading.infer_fps, reading.drop_fps, reading.scale_ratio) if reading else (0.0, 0.0, 0.0)
        try:
            self._publisher.report_worker(
                *rates, device=self._engine.device, model=identity.model, precision=identity.precision
            )
        except Exception as error:  # noqa: BLE001  a report that fails must not end the thread
            self._failed("broker", error, "a report")
        else:
            self._lifecycle.set_ready("broker")

    # The main thread.

    def _measure(self, utilisation: Utilisation) -> None:
        now = time.monotonic()
        if now - min(self._busy_since) < STUCK_S:
            self._lifecycle.beat("infer")
        since = self._popping_since
        # In a pop since before the last look: it waits for frames.
        starving = since is not None and now - since > TICK_S / 2
        with self._lock:
            inferred, spoilt_s = self._inferred, self._spoilt_s
        waited = self._never_starved and not starving
        self._never_starved = True
        if self._engine.on_cpu:
            used_s = time.process_time() - spoilt_s
        else:
            used_s, spoilt_s = self._engine.busy_s(), 0.0
        reading = utilisation.add(Sample(now, used_s, inferred, self._rated_drops, waited, spoilt_s))
        self._reading = reading
        self._metrics.infer_fps.set(reading.infer_fps)
        self._metrics.drop_fps.set(reading.drop_fps)
        self._metrics.scale_ratio.set(reading.scale_ratio)

    def _failed(self, part: str, error: Exception, what: str) -> None:
        """Once a minute and kind of error: one line for Redis' own, where it happened for anything else."""
        known = isinstance(error, _CONTACT_ERRORS)
        text = self._explain(error, part) if known else f"{what} failed: {error!r}"
        self._lifecycle.set_missing(part, text)
        if self._throttle.allow((part, type(error))):
            log.log(logging.WARNING if known else logging.ERROR, "%s", text, exc_info=None if known else error)
