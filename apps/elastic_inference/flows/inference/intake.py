"""The pop thread: takes frames from the queue whenever the workers are about to need them.

Run by the `pipeline`. It pops only as many frames as the workers will start within a few hundredths of a second.
The others wait in the queue, where the newest frames win.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from elastic_inference.adapters.frame_queue import PopBatch
from elastic_inference.base.backoff import Backoff
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.sequence import Tombstone
from elastic_inference.flows.inference.pod_context import PodContext
from elastic_inference.flows.inference.redis_health import CONTACT_ERRORS, RedisHealth
from elastic_inference.flows.inference.result_sender import ResultSender
from elastic_inference.flows.inference.task_queue import Task

log = logging.getLogger(__name__)

# How long it waits for frames or for room before it checks for a stop.
POP_WAIT_S = 1.0


class Consumer(Protocol):
    """The pod's end of the frame queue; see `QueueConsumer`."""

    @property
    def legacy_in_hand(self) -> int:
        """Legacy frames taken from Redis but not yet returned."""

    def load_scripts(self) -> None:
        """Loads the queue's scripts."""

    def pop(self, max_frames: int, wait_s: float = ...) -> PopBatch:
        """The next frames."""

    def close(self) -> None:
        """Puts back what it holds."""


class Intake:
    """From the queue to the workers. `run` is the body of one thread."""

    def __init__(
        self, consumer: Consumer, infer_type: str, pod: PodContext, sender: ResultSender, health: RedisHealth
    ) -> None:
        self._consumer, self._health = consumer, health
        self._type = infer_type
        self._tasks, self._sender = pod.tasks, sender
        self._meter, self._account = pod.meter, pod.account
        self._lifecycle = pod.lifecycle

    def run(self) -> None:
        """Pops until the lifecycle stops (and `tasks.interrupt` is called), then closes the consumer."""
        backoff = Backoff()
        connected = False
        began_s = time.thread_time()
        while not self._lifecycle.stopping:
            self._lifecycle.beat("pop")
            if not self._tasks.wait_for_room(POP_WAIT_S):
                continue
            try:
                if not connected:
                    self._consumer.load_scripts()
                    connected = True
                    backoff.reset()
                    self._health.works()
                self._meter.pop_begins(time.monotonic())
                batch = self._consumer.pop(self._tasks.ahead, POP_WAIT_S)
            except Exception as error:  # noqa: BLE001  even after a bug the pod must keep trying
                connected = False
                self._meter.pop_fails()
                self._health.failed(error, "a pop")
                self._lifecycle.wait_stop(backoff.next_s())
                continue
            self._accept(batch)
            ended_s = time.thread_time()
            self._meter.pop_costs(batch, ended_s - began_s)
            began_s = ended_s
        self._close()
        self._lifecycle.end_beat("pop")

    def _accept(self, batch: PopBatch) -> None:
        now_s = time.monotonic()
        streams = [keys.stream_id(popped.frame.name, self._type) for popped in batch.frames]
        slots = self._sender.reserve(streams)
        for task in self._tasks.add([Task(*parts) for parts in zip(batch.frames, streams, slots, strict=True)]):
            self._account.stale(1)
            found = Tombstone(task.stream, task.popped.order, DropReason.STALE)
            self._sender.discard(task.slot, found, task.size)
        self._meter.pop_ends(batch, now_s)
        if batch.tombstones:
            self._sender.bury(batch.tombstones)
        self._account.popped(batch)

    def _close(self) -> None:
        """Puts back the frames of an interrupted wait. Those that cannot be put back are lost, and counted."""
        try:
            self._consumer.close()
        except CONTACT_ERRORS as error:
            log.debug("the queue could not be closed properly: %s", error)
        if lost := self._consumer.legacy_in_hand:
            self._account.lost(lost, "they could not be put back into the queue")
