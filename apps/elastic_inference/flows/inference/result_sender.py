"""The publish thread: gathers results and tombstones, puts the results in order and sends all to the broker.

Run by the `pipeline`. The pop thread reserves a slot for each frame, and a worker ends each slot with a result or a
tombstone. The results of a stream leave in its order. Tombstones leave at once, since their receiver orders them.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from typing import Protocol

from elastic_inference.base.backoff import Backoff
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.sequence import Tombstone
from elastic_inference.flows.inference.frame_samples import FrameSamples
from elastic_inference.flows.inference.ordering import Slot, StreamOrder
from elastic_inference.flows.inference.pod_context import PodContext
from elastic_inference.flows.inference.recent_frames import RecentFrames
from elastic_inference.flows.inference.redis_health import CONTACT_ERRORS, RedisHealth
from elastic_inference.flows.inference.task_queue import Finished, Outgoing

log = logging.getLogger(__name__)

REPORT_EVERY_S = 1.0
# Results that come faster than this are published together: a publish costs far more than a result in it. While
# frames wait for a worker, throughput matters more than a few milliseconds.
GATHER_S = 0.005
GATHER_FULL_S = 0.025
# Results that could not be published for this long are given up, and counted as lost.
PUBLISH_LIMIT_S = 10.0
# The maximum delay of a tombstone.
TOMBSTONE_LIMIT_S = 1.0
# Limits the memory while the broker is unavailable; the oldest results are discarded first.
MAX_TOMBSTONES = 4096
# The reason in the tombstone of a frame that was lost in the pod.
LOST = "lost"


class Publisher(Protocol):
    """The pod's side of the stream broker; see `ResultPublisher`."""

    def publish(self, batch: Sequence[Outgoing], tombstones: Sequence[Tombstone] = ...) -> Set[int]:
        """Sends results and tombstones; returns the positions of results that Redis refused to keep."""

    def remove_worker(self) -> None:
        """Removes the pod from the registry."""

    @property
    def events_run(self) -> bool:
        """Whether results go to event workers too."""


class ResultSender:
    """From the workers to the broker. `run` is the body of one thread."""

    def __init__(
        self,
        publisher: Publisher,
        report: Callable[[], None],
        pod: PodContext,
        health: RedisHealth,
        fresh_s: float = float("inf"),
        *,
        recent: RecentFrames | None = None,
        samples: FrameSamples | None = None,
    ) -> None:
        """`report` refreshes the pod's entry in the registry; it is called every second and may raise.

        Results of frames older than `fresh_s` are dropped, unless they waited for the broker. `recent` and
        `samples` get the others.
        """
        self._publisher, self._health = publisher, health
        self._report_worker = report
        self._tasks, self._account = pod.tasks, pod.account
        self._lifecycle = pod.lifecycle
        self._lock = threading.Lock()
        self._order: StreamOrder[Finished] = StreamOrder()
        self._ready: list[Finished] = []
        self._recent = recent if recent is not None else RecentFrames(0)
        self._samples = samples if samples is not None else FrameSamples()
        self._tombstones: deque[Tombstone] = deque(maxlen=MAX_TOMBSTONES)
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.fresh_s = fresh_s
        # Duration of the last publish: results that are ready now have waited for it.
        self._held_up_s = 0.0
        self._drain_until_s = float("inf")

    def reserve(self, streams: Sequence[str]) -> list[Slot[Finished]]:
        """Pop thread: a slot for each popped frame, given by its stream, in the order of the frames."""
        with self._lock:
            return [self._order.reserve(stream) for stream in streams]

    def finish(self, slot: Slot[Finished], outgoing: Outgoing, arrived_s: float = float("inf")) -> None:
        """Worker: the slot's frame has a result. Each slot ends with one `finish` or `discard`.

        `arrived_s` is the monotonic time of the frame's arrival at the queue.
        """
        with self._lock:
            ready = self._order.finish(slot, (outgoing, arrived_s))
            wake = bool(ready) and not self._ready
            self._ready += ready
        if wake:
            self._wake.put(True)

    def discard(self, slot: Slot[Finished], tombstone: Tombstone, size: int) -> None:
        """Worker: the slot's frame, whose image has `size` bytes, has no result."""
        with self._lock:
            wake = not (self._ready or self._tombstones)
            self._ready += self._order.finish(slot, None)
            self._tombstones.append(tombstone)
        self._tasks.release(1, size)
        if wake:
            self._wake.put(True)

    def bury(self, tombstones: Sequence[Tombstone]) -> None:
        """Any thread: adds tombstones for frames without a slot."""
        with self._lock:
            wake = not (self._ready or self._tombstones)
            self._tombstones += tombstones
        if wake:
            self._wake.put(True)

    def drain(self, until_s: float) -> None:
        """Stops retries from this monotonic time on."""
        self._drain_until_s = until_s

    def close(self) -> None:
        """Call after the last slot is finished: `run` sends the rest and returns."""
        self._wake.put(False)

    def run(self) -> None:
        """Publishes and reports until `close`."""
        self._lifecycle.beat("publish")
        report_at_s = time.monotonic()
        sent_at_s = 0.0
        going = True
        while going or self._ready or self._tombstones:
            with contextlib.suppress(queue.Empty):
                going = self._wake.get(timeout=max(0.0, report_at_s - time.monotonic())) and going
            if going and (self._ready or self._tombstones):
                gather_s = GATHER_FULL_S if self._tasks.waiting else GATHER_S
                pause_s = sent_at_s + gather_s - time.monotonic()
                if pause_s > 0:
                    time.sleep(pause_s)
            with self._lock:
                finished, self._ready = self._ready, []
                tombstones = list(self._tombstones)
                self._tombstones.clear()
            if finished or tombstones:
                sent_at_s = time.monotonic()
                self._send(self._fresh(finished, tombstones, sent_at_s), tombstones)
                self._held_up_s = time.monotonic() - sent_at_s
            if time.monotonic() >= report_at_s:
                report_at_s = time.monotonic() + REPORT_EVERY_S
                self._lifecycle.beat("publish")
                self._report()
        try:
            self._publisher.remove_worker()
        except CONTACT_ERRORS as error:
            log.debug("the pod could not leave the registry: %s", error)
        self._lifecycle.end_beat("publish")

    def _fresh(self, finished: list[Finished], tombstones: list[Tombstone], now_s: float) -> list[Outgoing]:
        """The results to send. If the process was stopped for a while, old results become tombstones."""
        oldest_s = now_s - self.fresh_s - min(self._held_up_s, PUBLISH_LIMIT_S)
        fresh = [outgoing for outgoing, arrived_s in finished if arrived_s >= oldest_s]
        if count := len(finished) - len(fresh):
            stale = [outgoing for outgoing, arrived_s in finished if arrived_s < oldest_s]
            self._account.stale(count)
            self._tasks.release(count, sum(len(jpeg) for _, jpeg in stale))
            tombstones += [Tombstone(result.stream, result.order, DropReason.STALE) for result, _ in stale]
        return fresh

    def _send(self, batch: list[Outgoing], tombstones: Sequence[Tombstone]) -> None:
        if self._publisher.events_run:
            # The desk notices it up to a second later, and an event may come of the first result.
            self._recent.turn(True)
            self._recent.add(batch)
        self._samples.add(batch)
        refused = self._try_to_publish(batch, tombstones)
        self._tasks.release(len(batch), sum(len(jpeg) for _, jpeg in batch))
        if not batch:
            # Tombstones alone prove nothing: the publisher sends none while nobody watches.
            return
        if refused is not None:
            self._health.works()
            if refused:
                self._account.lost(len(refused), "Redis refused to keep their results")
                batch = [each for index, each in enumerate(batch) if index not in refused]
            self._account.published(batch)
        else:
            self._account.lost(len(batch), "their results could not be published")
            # They get one chance, with the next batch.
            self.bury([Tombstone(result.stream, result.order, LOST) for result, _ in batch])

    def _try_to_publish(self, batch: list[Outgoing], tombstones: Sequence[Tombstone]) -> Set[int] | None:
        """The positions of the results that Redis refused; None if nothing could be sent."""
        backoff = Backoff()
        limit_s = PUBLISH_LIMIT_S if batch else TOMBSTONE_LIMIT_S
        until_s = min(time.monotonic() + limit_s, self._drain_until_s + 1.0)
        while True:
            try:
                return self._publisher.publish(batch, tombstones)
            except Exception as error:  # noqa: BLE001  results that cannot be sent must not end the thread
                self._health.failed(error, "a publish")
                if not isinstance(error, CONTACT_ERRORS):
                    return None
            self._lifecycle.beat("publish")
            if time.monotonic() >= until_s:
                return None
            time.sleep(min(backoff.next_s(), max(0.0, until_s - time.monotonic())))
            if time.monotonic() > until_s + 1.0:
                # The process was stopped meanwhile: its results are too old.
                return None

    def _report(self) -> None:
        try:
            self._report_worker()
        except Exception as error:  # noqa: BLE001  a report that fails must not end the thread
            self._health.failed(error, "a report")
        else:
            self._health.works()
