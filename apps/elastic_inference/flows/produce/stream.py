"""One camera or file: a thread reads it and encodes its frames; a second one encodes if that would delay reading.

Called by `stream_manager`. It has a sink for each type, and ends and fails alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.adapters.source.jpeg_encoder import JpegEncoder
from elastic_inference.base.crash_mark import marked
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.domain.camera_choices import GateKind, ImageSize
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import MESSAGE_OVERHEAD_BYTES
from elastic_inference.domain.image_size import FrameSize
from elastic_inference.flows.produce.at_once import WAIT_S, AtOnce
from elastic_inference.flows.produce.frame_pacing import Gate
from elastic_inference.flows.produce.motion_gate import MotionGate
from elastic_inference.flows.produce.newest_slot import NewestSlot
from elastic_inference.flows.produce.pusher import Pusher, Pushers
from elastic_inference.flows.produce.queue_sink import Permit, QueueSink
from elastic_inference.flows.produce.source_reader import PART, SourceReader
from elastic_inference.flows.produce.source_watch import SourceReport, SourceState, SourceWatch
from elastic_inference.flows.produce.stream_needs import StreamNeeds
from elastic_inference.flows.produce.substream import StreamChoice

log = logging.getLogger(__name__)
REPORT_EVERY_S = 2.0
IDLE_S = 5.0
# In a row, before the source is said to send nothing that can be used.
UNUSABLE_FRAMES = 3


class Encoding(NamedTuple):
    """How frames become JPEG: `quality` is 1 to 100; `width` or `height` alone keeps the aspect ratio."""

    quality: int
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How one stream is to run.

    `what` describes the source in logs and holds no secret. Plans with the same `connection` use the same open source:
    after a change of other fields it stays open.
    """

    name: str
    what: str
    types: tuple[str, ...]
    connection: Hashable
    open_source: Callable[[], Source]
    make_gate: Callable[[], Gate]
    fps: float
    stall_s: float
    encoding: Encoding
    size: ImageSize = ImageSize.SOURCE
    gate: GateKind = GateKind.NONE
    open_substream: Callable[[], Source] | None = None

    @property
    def asks(self) -> bool:
        """Whether the plan depends on what pods and viewers need."""
        return self.size is ImageSize.AUTO or self.gate is GateKind.MOTION or self.open_substream is not None


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The limits of each stream of a process."""

    max_frame_bytes: int
    max_frame_pixels: int
    image_memory: int
    window_s: float


class ProducerStream:
    """Runs from `start` until its lifecycle stops. `fatal` holds the error that ended it for good."""

    def __init__(
        self,
        plan: StreamPlan,
        *,
        limits: StreamLimits,
        metrics: ProducerMetrics,
        pushers: Pushers,
        lifecycle: Lifecycle,
        permit: Permit | None = None,
        first_number: int = 0,
        never_fatal: bool = False,
    ) -> None:
        self.plan = plan
        self.lifecycle = lifecycle
        self.permit = permit
        self._part = f"{PART} of {plan.name}" if never_fatal else PART
        self._limits = limits
        self._metrics = metrics
        self._pushers = pushers
        self._use_encoders(plan.encoding)
        self._watch = SourceWatch(plan.what, plan.stall_s, metrics, limits.window_s)
        self._slot: NewestSlot[tuple[int, CapturedFrame]] = NewestSlot()
        self._choice: StreamChoice | None = None
        if plan.open_substream is not None:
            self._choice = StreamChoice(plan.name, plan.open_source, plan.open_substream)
            lifecycle.on_stop(self._choice.close)
        self._reader = SourceReader(
            part=self._part,
            lifecycle=lifecycle,
            never_fatal=never_fatal,
            first_number=first_number,
            stall_s=plan.stall_s,
            open_source=plan.open_source if self._choice is None else self._choice.open,
            at_once=self._encode_at_once,
            gate=plan.make_gate(),
            watch=self._watch,
            slot=self._slot,
            on_drop=self._count_source_drop,
            on_gated=self._skipped,
            on_invalid=self._count_invalid,
        )
        self._needs = StreamNeeds()
        self._sinks: tuple[tuple[Pusher, QueueSink], ...] = ()
        self._by_pusher: tuple[tuple[Pusher, list[QueueSink]], ...] = ()
        self._use(tuple(map(self._sink, plan.types)))
        self._motion: MotionGate | None = None
        self._follow_need()
        self._thread = threading.Thread(target=marked(self._part, self._encode_frames), name="encoder", daemon=True)
        self._error: BaseException | None = None
        self._given = self._done = -1  # the last frame given to the encoder's thread, and the last that it has done
        self._at_once = AtOnce()
        self._source_drops = 0
        self._unusable, self._unusable_why = 0, ""  # frames since the last that could be used
        self._cpu_s = 0.0
        self._throttle = Throttle()
        self._reported = SourceState.RECONNECTING
        self._next_report = 0.0
        self.report = SourceReport(SourceState.RECONNECTING, 0.0, 0)
        self.size: tuple[int, int] | None = None  # of the last frame
        self.frame_ts: float | None = None

    @property
    def fatal(self) -> BaseException | None:
        """The error that ended it for good."""
        return self._reader.fatal or self._error

    @property
    def reason(self) -> str | None:
        """What keeps the source from being live, in a sentence."""
        return self.lifecycle.missing().get(self._part)

    @property
    def note(self) -> str | None:
        """What is wrong although frames arrive, in a sentence."""
        if self._unusable >= UNUSABLE_FRAMES:
            return f"Frames arrive, but none can be used: {self._unusable_why}."
        return self._choice.note if self._choice is not None else None

    @property
    def opening(self) -> bool:
        """Whether it opens its source now."""
        return self._reader.opening or (self._choice is not None and self._choice.opening)

    @property
    def failures(self) -> int:
        """How often opening or reading the source has failed since its last frame."""
        return self._reader.failures

    @property
    def next_number(self) -> int:
        """The number of the next frame."""
        return self._reader.next_number

    @property
    def cpu_s(self) -> float:
        """CPU seconds that it has taken so far, for reading, decoding and encoding."""
        return self._reader.cpu_s + self._cpu_s

    @property
    def running(self) -> bool:
        """Whether one of its threads runs."""
        return self._reader.running or self._thread.is_alive()

    def start(self) -> None:
        """Starts both threads."""
        self.lifecycle.on_stop(self._slot.close)
        self._thread.start()
        self._reader.start()

    def change(self, plan: StreamPlan) -> bool:
        """Follows the new plan without opening the source again; False if that is not possible."""
        before = self.plan
        if plan.connection != before.connection or plan.stall_s != before.stall_s:
            return False
        if plan.fps != before.fps and self._reader.polls:
            return False
        self.plan = plan
        if plan.fps != before.fps:
            self._reader.set_gate(plan.make_gate())
        if plan.encoding != before.encoding:
            self._use_encoders(plan.encoding)
        if plan.types != before.types:
            self._change_types(plan.types)
        self._follow_need()
        return True

    def tick(self, now: float) -> None:
        """Notices stalls and hung reads, and reports the source. Call it a few times a second."""
        if self._watch.check(now):
            self._reader.interrupt()
        self._reader.replace_if_hung(now)
        if self.plan.asks:
            for pusher, sink in self._sinks:
                if self._needs.due(sink.infer_type, now):
                    pusher.ask((sink,))
            if self._choice is not None:
                self._choice.decide(self._needs.known_watched(self.plan.types, now), now)
            if self._watch.quiet and self._needs.watched(self.plan.types, now):
                # Otherwise nobody would decide before the next frame, which may be seconds away.
                self._watch.quiet = False
                self._reader.set_quiet(False)
        self.report = report = self._watch.report(now)
        if now < self._next_report and report.state is self._reported:
            return
        self._next_report = now + REPORT_EVERY_S
        self._reported = report.state
        for pusher, sink in self._sinks:
            pusher.report(sink, report, self._source_drops)

    def end(self) -> None:
        """Lets both threads end; nothing is pushed any longer. Does not wait."""
        self.lifecycle.stop()
        self._reader.interrupt()
        for pusher, sink in self._sinks:
            self._pushers.release(pusher, sink)
        self._use(())

    def join(self, timeout_s: float) -> None:
        """Waits for its threads; those that hang are daemons and do not keep the process from ending."""
        self._reader.close(timeout_s)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _encode_frames(self) -> None:
        try:
            while not self.lifecycle.stopping and self._reader.fatal is None:
                taken = self._slot.take(IDLE_S)
                if taken is not None and not self.lifecycle.stopping:
                    self._encode(*taken)
                    self._cpu_s = time.thread_time()
                    self._done = taken[0]
                # A 1080p frame takes 3 MB, which would be held until the next one comes.
                taken = None
        except BaseException as error:  # noqa: BLE001  top of the thread
            self._fail(error)

    def _encode_at_once(self, number: int, captured: CapturedFrame) -> bool:
        """Encodes and pushes in the reader's thread; False where the encoder's thread has to."""
        allowed = self._at_once.allows(time.monotonic())
        if self._given != self._done or not allowed:
            self._given = number
            return False
        try:
            self._encode(number, captured, WAIT_S)
        except BaseException as error:  # noqa: BLE001  as at the top of the encoder's thread
            self._fail(error)
        self._at_once.took(time.monotonic())
        return True

    def _fail(self, error: BaseException) -> None:
        log.critical("%s: the encoder failed", self.plan.name, exc_info=error)
        self._error = error
        self.lifecycle.stop()

    def _encode(self, number: int, captured: CapturedFrame, within_s: float | None = None) -> None:
        sinks = self._sinks
        if not any(sink.open for _, sink in sinks):
            for _, sink in sinks:
                sink.drop()
            return
        gate = self._motion
        if gate is not None and not self._passes(gate, captured):
            return
        try:
            needed = self._needed_size if self.plan.size is ImageSize.AUTO else None
            encoder = self._sub_encoder if captured.small else self._encoder
            data, width, height = encoder.encode(captured, needed)
            limit = self._limits.max_frame_bytes - MESSAGE_OVERHEAD_BYTES
            if len(data) > limit:
                raise InvalidFrameError(
                    InvalidReason.TOO_LARGE, f"{len(data)} bytes of JPEG, at most {limit} fit into MAX_FRAME_BYTES"
                )
        except InvalidFrameError as error:
            self._count_invalid(error)
            return
        self.size, self.frame_ts, self._unusable = (width, height), captured.ts, 0
        frame = Frame(self.plan.name, "", data, number, captured.ts, 0.0, width, height)
        for pusher, several in self._by_pusher:
            pusher.offer(several, frame, captured.captured, within_s)

    def _needed_size(self, width: int, height: int) -> FrameSize:
        return self._needs.size(self.plan.types, width, height, time.monotonic())

    def _follow_need(self) -> None:
        """Sets up what depends on pods and viewers."""
        for _, sink in self._sinks:
            sink.producer.asks_size = self.plan.asks
        if self.plan.gate is GateKind.MOTION:
            if self._motion is None:
                self._motion = MotionGate()
                self._reader.set_quiet(False)
        elif self._motion is not None:
            self._motion, self._watch.quiet = None, False
            self._reader.set_quiet(False)

    def _passes(self, gate: MotionGate, captured: CapturedFrame) -> bool:
        """Whether the frame is to be inferred."""
        now = captured.captured
        try:
            passes = gate.admit(captured, now, watched=self._needs.watched(self.plan.types, time.monotonic()))
        except InvalidFrameError:
            return True  # the encoder reports what is wrong with it
        self._watch.quiet = gate.quiet
        self._reader.set_quiet(gate.quiet)
        if not passes:
            self._count_gated()
        return passes

    def _skipped(self) -> None:
        # Called only in the reader's thread.
        if gate := self._motion:
            gate.skip()
        self._count_gated()

    def _count_gated(self) -> None:
        for infer_type in self.plan.types:
            if counter := self._metrics.gated.get(infer_type):
                counter.inc()

    def _count_source_drop(self) -> None:
        # Called only in the reader's thread.
        self._source_drops += 1
        for infer_type in self.plan.types:
            if counter := self._metrics.dropped.get((infer_type, DropReason.SOURCE)):
                counter.inc()

    def _count_invalid(self, error: InvalidFrameError) -> None:
        self._unusable, self._unusable_why = self._unusable + 1, error.detail
        for infer_type in self.plan.types:
            if counter := self._metrics.invalid.get((infer_type, error.reason)):
                counter.inc()
        if self._throttle.allow(error.reason):
            log.warning("%s: frame not pushed: %s", self.plan.name, error)

    def _change_types(self, types: tuple[str, ...]) -> None:
        kept = {sink.infer_type: (pusher, sink) for pusher, sink in self._sinks}
        for infer_type in types:
            if infer_type not in kept:
                self._metrics.add_type(infer_type)
        self._use(tuple(kept.get(infer_type) or self._sink(infer_type) for infer_type in types))
        for infer_type, (pusher, sink) in kept.items():
            if infer_type not in types:
                self._pushers.release(pusher, sink)
                self._metrics.remove_type(infer_type)

    def _use(self, sinks: tuple[tuple[Pusher, QueueSink], ...]) -> None:
        self._by_pusher = tuple(
            (pusher, [sink for at, sink in sinks if at is pusher]) for pusher in dict.fromkeys(at for at, _ in sinks)
        )
        self._sinks = sinks

    def _sink(self, infer_type: str) -> tuple[Pusher, QueueSink]:
        return self._pushers.sink(self.plan.name, infer_type, self._metrics, self.permit, self._needs)

    def _use_encoders(self, encoding: Encoding) -> None:
        limits = self._limits.max_frame_pixels, self._limits.image_memory
        self._encoder = JpegEncoder(*encoding, *limits)
        # The size is that of the main stream: the substream would often be enlarged.
        self._sub_encoder = JpegEncoder(encoding.quality, None, None, *limits)
