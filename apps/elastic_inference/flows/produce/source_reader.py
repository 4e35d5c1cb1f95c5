"""The thread that reads a source, reopens it when it fails, and hands the newest frame to the producer.

Called by `producer`. Independent of the queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.adapters.source.source_facts import POLLED
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.crash_mark import marked
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.domain.errors import InvalidFrameError, SourceError, SourceFatalError
from elastic_inference.flows.produce.frame_pacing import Gate, Verdict
from elastic_inference.flows.produce.newest_slot import NewestSlot
from elastic_inference.flows.produce.source_watch import SourceWatch

log = logging.getLogger(__name__)
PART = "source"
# One of many cameras that can never work as configured is tried again after this long: its file may appear.
FATAL_PAUSE_S = 10.0

# Opening may take a name lookup, a login and a few seconds of video. A read ends by the source's own time-out; if it
# takes this much longer, it hangs.
OPEN_LIMIT_S = 30.0
READ_MARGIN_S = 5.0
# If a read hangs despite every time-out, only a restart of the process helps: liveness fails after this long plus
# twice the stall time.
HANG_LIMIT_S = 80.0
# Far below the limit of a hang: beating for each frame is not necessary.
BEAT_EVERY_S = 1.0
# Threads that hang for good, in a driver or a name lookup, cannot be ended. Beyond this number, liveness fails.
MAX_ABANDONED = 3


class SourceReader:
    """Reads until the lifecycle stops. `fatal` holds the error that ended it for good."""

    def __init__(
        self,
        *,
        open_source: Callable[[], Source],
        gate: Gate,
        watch: SourceWatch,
        at_once: Callable[[int, CapturedFrame], bool],
        slot: NewestSlot[tuple[int, CapturedFrame]],
        lifecycle: Lifecycle,
        stall_s: float,
        on_drop: Callable[[], None],
        on_gated: Callable[[], None],
        on_invalid: Callable[[InvalidFrameError], None],
        first_number: int = 0,
        never_fatal: bool = False,
        part: str = PART,
    ) -> None:
        """`open_source` raises SourceError; a read that hangs for HANG_LIMIT_S and more fails liveness.

        `at_once` handles a frame in the reader's thread; frames for which it returns False go into `slot`.
        `on_drop` is called for each dropped frame, `on_gated` for each that was not even decoded since nothing moves,
        and `on_invalid` for each unusable one, all in the reader's thread.
        With `never_fatal` a source that can't work as configured is tried again, after a longer pause. `part` is its
        name in readiness and logs.
        """
        self._part = part
        self._open_source = open_source
        self._read_limit_s = stall_s + READ_MARGIN_S
        self._hang_limit_s = HANG_LIMIT_S + 2 * stall_s
        self._gate = gate
        self._watch = watch
        self._at_once = at_once
        self._slot = slot
        self._lifecycle = lifecycle
        self._on_drop = on_drop
        self._on_gated = on_gated
        # Whether the source may rest; None while nobody has decided.
        self._quiet: bool | None = None
        self._on_invalid = on_invalid
        self._backoff = Backoff(0.2, 2.0)
        self._lock = threading.Lock()
        self._sequence = first_number
        self._never_fatal = never_fatal
        self._seen = False
        self._cpu_s = 0.0
        self._current = _Reading()
        self._abandoned: list[threading.Thread] = []
        self._thread = self._make_thread()
        self.fatal: BaseException | None = None
        self.failures = 0  # to open or read it, since the last frame

    def start(self) -> None:
        """Starts reading."""
        self._lifecycle.declare(self._part, "no frame from the source yet")
        self._thread.start()

    @property
    def next_number(self) -> int:
        """The number of the next frame."""
        return self._sequence

    @property
    def cpu_s(self) -> float:
        """CPU seconds that reading and decoding have taken."""
        return self._cpu_s

    @property
    def opening(self) -> bool:
        """Whether it opens the source now."""
        reading = self._current
        return reading.blocked and reading.source is None

    @property
    def polls(self) -> bool:
        """Whether the source fetches its images at the rate for which it was opened."""
        return self._current.polls

    @property
    def running(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def set_gate(self, gate: Gate) -> None:
        """Uses another gate from the next frame on."""
        self._gate = gate

    def set_quiet(self, quiet: bool) -> None:
        """While quiet, the source may decode key frames alone."""
        if quiet == self._quiet:
            return
        self._quiet = quiet
        with self._lock:
            reading, source = self._current, self._current.source
        if source is not None:
            source.rest(quiet, partial(self._skip, reading))

    def interrupt(self) -> None:
        """Ends a read that hangs, if the source can; it is then reopened."""
        with self._lock:
            source = self._current.source
        if source is not None:
            source.interrupt()

    def replace_if_hung(self, now: float) -> None:
        """Continues in a new thread where opening or reading hangs in a library that has no time-out for it.

        Call it every second or so. The old thread closes its source if it ever returns.
        """
        with self._lock:
            reading = self._current
            hung_s = now - reading.began
            if not reading.blocked or hung_s < reading.limit_s:
                return
            self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
            if len(self._abandoned) >= MAX_ABANDONED:
                return
            reading.stale = True
            self._abandoned.append(self._thread)
            self._current = _Reading()
            self._thread = self._make_thread()
        what = "Opening" if reading.source is None else "Reading"
        self._watch.failed(now, f"{what} the source hangs for {hung_s:.0f} s.", hung_s)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """Waits for the thread after the stop; False if its read still hangs (a daemon does not block the exit)."""
        self.interrupt()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _make_thread(self) -> threading.Thread:
        run = marked(self._part, self._run)
        return threading.Thread(target=run, args=(self._current,), name="source", daemon=True)

    def _run(self, reading: _Reading) -> None:
        try:
            while not self._lifecycle.stopping and not reading.stale:
                self._lifecycle.beat(self._part, self._hang_limit_s)
                try:
                    self._read_on(reading)
                except SourceError as error:
                    fatal = isinstance(error, SourceFatalError)
                    if fatal and not self._never_fatal:
                        raise
                    if self._lifecycle.stopping or reading.stale:
                        break
                    self.failures += 1
                    now = time.monotonic()
                    self._watch.failed(now, str(error), now - reading.began)
                    self._lifecycle.set_missing(self._part, str(error))
                    self._lifecycle.wait_stop(FATAL_PAUSE_S if fatal else self._backoff.next_s())
        except BaseException as error:  # noqa: BLE001  top of the thread: the producer raises it in the main thread
            if not reading.stale:
                self.fatal = error
        finally:
            if not reading.stale:
                self._lifecycle.end_beat(self._part)
                self._slot.close()

    def _read_on(self, reading: _Reading) -> None:
        reading.block(OPEN_LIMIT_S)
        source = self._open_source()
        reading.blocked = False
        try:
            with self._lock:
                if reading.stale:
                    return
                reading.source = source
            # Only this thread may ask a source.
            reading.polls = source.facts().transport == POLLED
            self._watch.opened(time.monotonic())
            source.thin(self._wants, self._over_cap)
            if self._quiet is not None:
                source.rest(self._quiet, partial(self._skip, reading))

            def on_data() -> None:
                # Waiting for a key frame is neither a hang nor a stall.
                now = time.monotonic()
                reading.began = now
                self._beat(reading)
                self._watch.data(now)

            while not self._lifecycle.stopping:
                reading.block(self._read_limit_s)
                self._beat(reading)
                media_s = source.grab(on_data)
                reading.blocked = False
                if reading.stale:
                    return
                self._take(reading, source, media_s)
        finally:
            reading.blocked = False
            with self._lock:
                reading.source = None
            source.close()

    def _beat(self, reading: _Reading) -> None:
        if reading.began >= reading.beat_at:
            reading.beat_at = reading.began + BEAT_EVERY_S
            self._lifecycle.beat(self._part, self._hang_limit_s)

    def _skip(self, reading: _Reading, media_s: float | None) -> None:
        """Counts a frame that is not decoded: it keeps its number and its time."""
        self._sequence += 1
        now = time.monotonic()
        verdict, wait_s = self._gate.admit(now, media_s)
        self._watch.frame(now + wait_s, verdict is not Verdict.SKIP)
        if verdict is not Verdict.SKIP:
            self._on_gated()
        if wait_s > 0 and not reading.stale:
            reading.blocked = False
            self._lifecycle.beat(self._part, self._hang_limit_s + wait_s)
            self._lifecycle.wait_stop(wait_s)
            reading.block(self._read_limit_s)

    def _wants(self, ahead_s: float) -> bool:
        return self._gate.wants(ahead_s)

    def _over_cap(self) -> None:
        """Counts a frame that is not decoded because of the cap: it keeps its number."""
        self._sequence += 1
        self._watch.frame(time.monotonic(), wanted=False)

    def _take(self, reading: _Reading, source: Source, media_s: float | None) -> None:
        number, self._sequence = self._sequence, self._sequence + 1
        now = time.monotonic()
        verdict, wait_s = self._gate.admit(now, media_s)
        self._watch.frame(now + wait_s, verdict is not Verdict.SKIP)
        self._cpu_s += reading.cpu()
        self.failures = 0
        if not self._seen or self._backoff.waited:
            self._seen = True
            self._lifecycle.set_ready(self._part)
            self._backoff.reset()
        if verdict is Verdict.SKIP:
            return
        if verdict is Verdict.DROP:
            self._on_drop()
            return
        if wait_s > 0:
            self._lifecycle.beat(self._part, self._hang_limit_s + wait_s)
            if self._lifecycle.wait_stop(wait_s):
                return
        try:
            frame = source.retrieve()
        except InvalidFrameError as error:
            self._on_invalid(error)
            return
        if not self._at_once(number, frame) and self._slot.put((number, frame)):
            self._on_drop()


class _Reading:
    """The state of one reading thread: since when it blocks, and whether another thread has replaced it."""

    def __init__(self) -> None:
        self.source: Source | None = None
        self.blocked = False
        self.stale = False
        self.polls = False
        self.began = time.monotonic()
        self.limit_s = OPEN_LIMIT_S
        self.beat_at = 0.0
        self._cpu_s = 0.0

    def cpu(self) -> float:
        """CPU seconds of this thread since the last call."""
        before, self._cpu_s = self._cpu_s, time.thread_time()
        return self._cpu_s - before

    def block(self, limit_s: float) -> None:
        """Records that a call that may block begins."""
        self.began, self.limit_s, self.blocked = time.monotonic(), limit_s, True
