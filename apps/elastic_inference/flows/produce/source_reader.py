"""The thread that reads a source, reopens it when it fails, and hands the newest frame to the producer.

Called by `producer`. Knows no queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.domain.errors import InvalidFrameError, SourceError, SourceFatalError
from elastic_inference.flows.produce.frame_pacing import Gate, Verdict
from elastic_inference.flows.produce.newest_slot import NewestSlot
from elastic_inference.flows.produce.source_watch import SourceWatch

log = logging.getLogger(__name__)
PART = "source"


class SourceReader:
    """Reads until the lifecycle stops. `fatal` holds the error that ended it for good."""

    def __init__(
        self,
        *,
        open_source: Callable[[], Source],
        gate: Gate,
        watch: SourceWatch,
        slot: NewestSlot[tuple[int, CapturedFrame]],
        lifecycle: Lifecycle,
        hang_limit_s: float,
        on_drop: Callable[[], None],
        on_invalid: Callable[[InvalidFrameError], None],
    ) -> None:
        """`open_source` raises SourceError; a read that hangs for `hang_limit_s` fails liveness.

        `on_drop` is called for each dropped frame and `on_invalid` for each unusable one, both in the reader's thread.
        """
        self._open_source = open_source
        self._gate = gate
        self._watch = watch
        self._slot = slot
        self._lifecycle = lifecycle
        self._hang_limit_s = hang_limit_s
        self._on_drop = on_drop
        self._on_invalid = on_invalid
        self._backoff = Backoff(0.2, 2.0)
        self._source: Source | None = None
        self._lock = threading.Lock()
        self._sequence = 0
        self._began = 0.0  # when the current read started
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)
        self.fatal: BaseException | None = None

    def start(self) -> None:
        """Starts reading."""
        self._lifecycle.declare(PART, "no frame from the source yet")
        self._thread.start()

    def interrupt(self) -> None:
        """Ends a read that hangs, if the source can; it is then reopened."""
        with self._lock:
            source = self._source
        if source is not None:
            source.interrupt()

    def close(self, timeout_s: float) -> bool:
        """Waits for the thread after the stop; False if its read still hangs (a daemon does not block the exit)."""
        self.interrupt()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._lifecycle.stopping:
                self._lifecycle.beat(PART, self._hang_limit_s)
                try:
                    self._read_on()
                except SourceFatalError:
                    raise
                except SourceError as error:
                    if self._lifecycle.stopping:
                        break
                    now = time.monotonic()
                    self._watch.failed(now, str(error), now - self._began)
                    self._lifecycle.set_missing(PART, str(error))
                    self._lifecycle.wait_stop(self._backoff.next_s())
        except BaseException as error:  # noqa: BLE001  top of the thread: the producer raises it in the main thread
            self.fatal = error
        finally:
            self._lifecycle.end_beat(PART)
            self._slot.close()

    def _read_on(self) -> None:
        source = self._open_source()
        try:
            with self._lock:
                self._source = source
            self._watch.opened(time.monotonic())
            while not self._lifecycle.stopping:
                self._began = time.monotonic()
                source.grab()
                self._lifecycle.beat(PART, self._hang_limit_s)
                self._take(source)
        finally:
            with self._lock:
                self._source = None
            source.close()

    def _take(self, source: Source) -> None:
        number, self._sequence = self._sequence, self._sequence + 1
        now = time.monotonic()
        verdict, wait_s = self._gate.admit(now)
        self._watch.frame(now + wait_s, verdict is not Verdict.SKIP)
        if number == 0 or self._backoff.waited:
            self._lifecycle.set_ready(PART)
            self._backoff.reset()
        if verdict is Verdict.SKIP:
            return
        if verdict is Verdict.DROP:
            self._on_drop()
            return
        if wait_s > 0:
            self._lifecycle.beat(PART, self._hang_limit_s + wait_s)
            if self._lifecycle.wait_stop(wait_s):
                return
        try:
            frame = source.retrieve()
        except InvalidFrameError as error:
            self._on_invalid(error)
            return
        if self._slot.put((number, frame)):
            self._on_drop()
