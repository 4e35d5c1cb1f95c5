"""Runs the streams of one process: cameras and files are added, changed and removed while it runs.

Called by the stream services. Each stream has threads of its own and fails alone; all share the connections to Redis.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from elastic_inference.base import config
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.memory_limit import room_for_images
from elastic_inference.base.metrics import ProducerFamilies, ProducerMetrics
from elastic_inference.flows.produce.pusher import Pushers
from elastic_inference.flows.produce.queue_sink import Permit
from elastic_inference.flows.produce.stream import ProducerStream, StreamLimits, StreamPlan

log = logging.getLogger(__name__)
PART = "streams"
TICK_S = 0.25
# An image may take this share of the free memory: a process with one stream works on one image at a time.
IMAGE_SHARE = 0.9
# Of many streams, several work at the same time.
SHARED_IMAGE_SHARE = 0.2
# A changed camera is opened again when its old connection has ended, or at the latest after this long.
REOPEN_AFTER_S = 2.0


@dataclass(slots=True)
class _Slot:
    """A wanted stream, and what runs for it."""

    plan: StreamPlan
    permit: Permit | None
    metrics: ProducerMetrics
    stream: ProducerStream | None = None
    ending: ProducerStream | None = None
    start_at: float = 0.0
    backoff: Backoff | None = None


class StreamManager:
    """The streams of a process. Not thread-safe: one thread makes all calls, and calls `tick` a few times a second."""

    def __init__(
        self, settings: config.ProducerSettings, lifecycle: Lifecycle, registry: CollectorRegistry, name: str
    ) -> None:
        """`name` shows in Redis' CLIENT LIST."""
        self._settings = settings
        self._lifecycle = lifecycle
        self._families = ProducerFamilies(registry)
        self._pushers = Pushers(settings, lifecycle, name)
        self._slots: dict[str, _Slot] = {}
        self._ending: list[ProducerStream] = []

    def run_one(self, plan: StreamPlan) -> None:
        """Runs a single stream until told to stop: its readiness and its errors are the service's.

        Raises SourceFatalError if the source can never work.
        """
        try:
            slot = self._add(plan, None)
            stream = slot.stream = self._stream(slot, self._lifecycle, IMAGE_SHARE)
            stream.start()
            while not self._lifecycle.wait_stop(TICK_S):
                self._lifecycle.beat(PART)
                stream.tick(time.monotonic())
                if stream.fatal is not None:
                    break
            if stream.fatal is not None:
                raise stream.fatal
        finally:
            self.close()

    def put(self, plan: StreamPlan, permit: Permit | None = None) -> None:
        """Adds a stream, or changes the one of this name."""
        slot = self._slots.get(plan.name)
        if slot is None:
            self._start(self._add(plan, permit))
            return
        if slot.stream is not None and slot.permit is permit and slot.stream.change(plan):
            slot.plan = plan
            return
        log.info("%s: reopening it: its address has changed, or the rate at which it is polled", plan.name)
        if slot.stream is not None:
            slot.stream.end()
            self._ending.append(slot.stream)
            slot.ending, slot.stream = slot.stream, None
        for kind in set(slot.plan.types) - set(plan.types):
            slot.metrics.remove_type(kind)
        for kind in set(plan.types) - set(slot.plan.types):
            slot.metrics.add_type(kind)
        slot.plan, slot.permit = plan, permit
        slot.start_at = time.monotonic() + REOPEN_AFTER_S

    def remove(self, name: str) -> None:
        """Ends a stream and removes its metrics. Does not wait for its threads."""
        slot = self._slots.pop(name, None)
        if slot is None:
            return
        if slot.stream is not None:
            slot.stream.end()
            self._ending.append(slot.stream)
        slot.metrics.remove()

    def streams(self) -> dict[str, ProducerStream]:
        """The streams that run, by name."""
        return {name: slot.stream for name, slot in self._slots.items() if slot.stream is not None}

    def tick(self) -> None:
        """Supervises all streams; call it a few times a second."""
        now = time.monotonic()
        self._lifecycle.beat(PART)
        self._ending = [stream for stream in self._ending if stream.running]
        for name, slot in self._slots.items():
            stream = slot.stream
            if stream is None:
                if now >= slot.start_at or (slot.ending is not None and not slot.ending.running):
                    self._start(slot)
                continue
            stream.tick(now)
            if stream.fatal is not None:
                self._failed(name, slot, stream, now)

    def close(self) -> None:
        """Ends all streams and connections."""
        self._lifecycle.stop()
        streams = [slot.stream for slot in self._slots.values() if slot.stream is not None]
        for stream in streams:
            stream.end()
        deadline = time.monotonic() + 1.0
        for stream in streams:
            stream.join(max(0.0, deadline - time.monotonic()))
        self._pushers.close()
        self._lifecycle.end_beat(PART)

    def _failed(self, name: str, slot: _Slot, stream: ProducerStream, now: float) -> None:
        """Handles a stream that a bug has ended: the others continue, and it is restarted after a pause."""
        log.error("%s has failed, and will be started again: %r", name, stream.fatal)
        stream.end()
        self._ending.append(stream)
        slot.ending, slot.stream = None, None
        slot.backoff = slot.backoff or Backoff(1.0, 60.0)
        slot.start_at = now + slot.backoff.next_s()

    def _start(self, slot: _Slot) -> None:
        number = slot.ending.next_number if slot.ending is not None else 0
        slot.ending = None
        lifecycle = Lifecycle(slot.plan.name)
        slot.stream = self._stream(slot, lifecycle, SHARED_IMAGE_SHARE, first_number=number)
        slot.stream.start()

    def _add(self, plan: StreamPlan, permit: Permit | None) -> _Slot:
        metrics = ProducerMetrics(self._families, plan.name, plan.types)
        slot = self._slots[plan.name] = _Slot(plan, permit, metrics)
        return slot

    def _stream(self, slot: _Slot, lifecycle: Lifecycle, share: float, *, first_number: int = 0) -> ProducerStream:
        settings = self._settings
        limits = StreamLimits(
            settings.max_frame_bytes, settings.max_frame_pixels, room_for_images(share), settings.metrics_window_s
        )
        return ProducerStream(
            slot.plan,
            limits=limits,
            metrics=slot.metrics,
            pushers=self._pushers,
            lifecycle=lifecycle,
            permit=slot.permit,
            first_number=first_number,
            never_fatal=lifecycle is not self._lifecycle,
        )
