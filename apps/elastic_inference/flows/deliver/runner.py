"""The thread of one sink: reads the outbox, delivers in order, acknowledges, and waits when the sink says so.

A slow or refusing sink does not delay the others. An event is acknowledged only after the sink has confirmed it, or
after it has become a dead letter.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import redis
from redis.exceptions import RedisError

from elastic_inference.adapters.outbox.sink_outbox import OtherHolderError, OutboxEntry, SinkOutbox
from elastic_inference.adapters.sinks import (
    DeliveryError,
    Item,
    LoginRefusedError,
    RefusedError,
    Sink,
    UnavailableError,
)
from elastic_inference.base.backoff import Backoff
from elastic_inference.domain.errors import InvalidEventError
from elastic_inference.domain.events.event import parse_event
from elastic_inference.domain.sink_documents import SinkCondition
from elastic_inference.domain.sink_spec import SinkSpec
from elastic_inference.flows.deliver.account import SinkAccount

log = logging.getLogger(__name__)

# Entries read at a time from each partition, which limits the memory used.
READ_AT_ONCE = 32
# A sink that refuses our login is tried again this often, since somebody may have corrected it.
PAUSE_S = 60.0
CHECK_S = 2.0
# How long a former worker that lives may take to finish: longer than its round and one read of the outbox.
HANDOVER_S = 3.0
MAX_HISTORY = 5000


class SinkRunner:
    """Runs from `start` until `stop`. `held` says whether this worker still has the sink's lease."""

    def __init__(
        self,
        spec: SinkSpec,
        *,
        connect: Callable[[], redis.Redis],
        open_sink: Callable[[], Sink],
        partitions: int,
        known: bool,
        held: Callable[[], bool],
        epoch: Callable[[], int],
        account: SinkAccount,
        explain: Callable[[Exception], str],
        handed_over: Callable[[redis.Redis], bool] = lambda _: False,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`known`: this process has seen the sink before, so a missing cursor was lost.

        `handed_over` returns whether another worker, which lives, may still be delivering to the sink. `epoch` returns
        the epoch of the sink's lease, 0 without one.
        """
        self.spec = spec
        self.partitions = partitions
        self._connect = connect
        self._open_sink = open_sink
        self._known = known
        self._held = held
        self._epoch_now = epoch
        self._epoch = 0
        # The lease with which the cursors were read.
        self._began_epoch = 0
        self.account = account
        self._explain = explain
        self._handed_over = handed_over
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._cursors: dict[int, str] = {}
        self._backoff = Backoff(0.2, 10.0)
        self._limit = 0
        # A daemon, since a library that hangs must not block the exit.
        self._thread = threading.Thread(target=self._run, name=f"sink {spec.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finishes what is in flight, then ends."""
        self._stop.set()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Waits for the end."""
        self._thread.join(timeout_s)

    @property
    def started(self) -> bool:
        """Whether the sink has its cursors."""
        return bool(self._cursors)

    def _run(self) -> None:
        redis_pause = Backoff(0.2, 5.0)
        sink = self._open_sink()
        fresh = True
        while not self._stop.is_set():
            client = self._connect()
            try:
                self._began_epoch = self._epoch_now()
                outbox = SinkOutbox(client, self.spec.name, self.partitions, self._lease)
                if fresh and self._handed_over(client):
                    self._wait_until_left(outbox)
                self._cursors = outbox.cursors(self._known, self._cursors)
                self._known = True
                if fresh:
                    self._recall(outbox, sink)
                    fresh = False
                redis_pause.reset()
                self._work(outbox, sink)
                if self._stop.is_set():
                    outbox.leave()
            except OtherHolderError:
                log.info("sink %s: another worker has delivered to it", self.spec.name)
                sink.close()
                sink, fresh = self._open_sink(), True
                if not self._regained():
                    self._wait_newer_lease()
            except (RedisError, OSError) as error:
                self._say(SinkCondition.FAILING, self._explain(error))
                self._stop.wait(redis_pause.next_s())
            except Exception as error:
                # Top of the thread: opens a new connection to the sink; no event is lost.
                log.exception("sink %s: an unexpected error", self.spec.name)
                self._say(SinkCondition.FAILING, f"an unexpected error: {type(error).__name__}")
                sink.close()
                self._stop.wait(self._backoff.next_s())
            finally:
                client.close()
        with contextlib.suppress(Exception):
            sink.close()
        self.account.close()

    def _wait_until_left(self, outbox: SinkOutbox) -> None:
        """The former worker acknowledges what it has in flight; after this worker has begun, it could not."""
        deadline = time.monotonic() + HANDOVER_S
        while not outbox.is_left() and time.monotonic() < deadline and not self._stop.is_set():
            self._stop.wait(0.05)

    def _lease(self) -> int:
        """The epoch of the lease, also just after its end, to acknowledge what was in flight."""
        self._epoch = self._epoch_now() or self._epoch
        return self._epoch

    def _regained(self) -> bool:
        """Whether the sink was lost and claimed again, perhaps in one round: the cursors here are old ones then."""
        return self._epoch_now() not in (0, self._began_epoch)

    def _check_lease(self) -> bool:
        """Whether this worker still has the sink; otherwise waits a little. Raises OtherHolderError if it was lost."""
        if self._regained():
            raise OtherHolderError
        if not self._held():
            self._stop.wait(0.1)
            return False
        return True

    def _wait_newer_lease(self) -> None:
        refused = self._epoch
        while not self._stop.is_set() and self._epoch_now() <= refused:
            self._stop.wait(0.1)

    def _recall(self, outbox: SinkOutbox, sink: Sink) -> None:
        for entry in outbox.history(self._cursors, MAX_HISTORY):
            with contextlib.suppress(InvalidEventError):
                event = parse_event(entry.document)
                if self.spec.takes(event):
                    sink.recall(event)

    def _work(self, outbox: SinkOutbox, sink: Sink) -> None:
        """Returns if cursors were lost, so that they are created again."""
        checked_at = time.monotonic()
        while not self._stop.is_set():
            if not self._check_lease():
                continue
            entries = outbox.read(self._cursors, READ_AT_ONCE)
            if entries:
                if not self._deliver(outbox, sink, entries):
                    return
            else:
                self.account.waits(None, outbox.offset_ms)
                self._idle(outbox, sink)
            if time.monotonic() - checked_at >= CHECK_S:
                checked_at = time.monotonic()
                if not outbox.intact():
                    log.warning("sink %s: Redis has lost its cursor; all events in the outbox are new", self.spec.name)
                    return

    def _idle(self, outbox: SinkOutbox, sink: Sink) -> None:
        try:
            sink.idle()
        except DeliveryError as error:
            self._failed(error)
            outbox.check_holder()
        else:
            self._succeeded()

    def _deliver(self, outbox: SinkOutbox, sink: Sink, entries: Sequence[OutboxEntry]) -> bool:
        """Delivers entries until all are done. False if Redis has lost a cursor."""
        pending = deque((entry, self._item(outbox, entry)) for entry in entries)
        while pending and not self._stop.is_set():
            self.account.waits(pending[0][0].at_ms, outbox.offset_ms)
            if not self._check_lease():
                continue
            limit = min(sink.max_batch, self._limit or sink.max_batch)
            items = [item for _, item in islice(pending, 4 * limit) if item is not None][:limit]
            done = len(items)
            refusal: str | None = None
            try:
                if items:
                    sink.deliver(items)
                self._limit = min(2 * limit, sink.max_batch)
                self._succeeded()
            except RefusedError as error:
                done = error.delivered
                if error.whole_batch and len(items) - done > 1:
                    # One event is the cause: smaller batches find it.
                    self._limit = max(1, (len(items) - done) // 2)
                else:
                    refusal = str(error)
            except DeliveryError as error:
                done = error.delivered
                self._failed(error)
                outbox.check_holder()
            if not self._advance(outbox, pending, done, refusal):
                return False
        return True

    def _advance(
        self, outbox: SinkOutbox, pending: deque[tuple[OutboxEntry, Item | None]], done: int, refusal: str | None
    ) -> bool:
        """Moves past `done` items, the next one if it was refused, and events that this sink does not take."""
        reached: dict[int, str] = {}
        left = done
        while pending:
            entry, item = pending[0]
            if item is not None and left > 0:
                left -= 1
            elif item is not None and refusal is not None:
                self._bury(outbox, entry, refusal)
                refusal = None
            elif item is not None:
                break
            reached[entry.partition] = entry.id
            pending.popleft()
        self.account.delivered(done)
        # Kept in memory first: if Redis is unavailable now, nothing is delivered twice.
        self._cursors |= reached
        return outbox.acknowledge(reached, time.time() * 1000) if reached else True

    def _item(self, outbox: SinkOutbox, entry: OutboxEntry) -> Item | None:
        try:
            event = parse_event(entry.document)
        except InvalidEventError as error:
            self._bury(outbox, entry, str(error))
            return None
        return Item(event, entry.document) if self.spec.takes(event) else None

    def _bury(self, outbox: SinkOutbox, entry: OutboxEntry, reason: str) -> None:
        outbox.bury(entry.document, reason, time.time() * 1000 + outbox.offset_ms)
        self.account.dead()
        log.warning("sink %s: an event is a dead letter now: %s", self.spec.name, reason[:300])

    def _failed(self, error: DeliveryError) -> None:
        """Records a failed attempt and waits before the next one."""
        self.account.retried()
        if isinstance(error, LoginRefusedError):
            self._say(SinkCondition.PAUSED, f"{error}. It is tried again every {self._pause_s:g} s")
            wait_s = self._pause_s * random.uniform(1.0, 1.1)  # noqa: S311  jitter, not a secret
        else:
            self._say(SinkCondition.FAILING, str(error))
            wait_s = self._backoff.next_s()
            if isinstance(error, UnavailableError) and error.retry_after_s is not None:
                wait_s = max(wait_s, error.retry_after_s)
        self._stop.wait(wait_s)

    def _succeeded(self) -> None:
        self._backoff.reset()
        if self.account.set(SinkCondition.DELIVERING):
            log.info("sink %s: delivering to %s", self.spec.name, self.spec.destination)

    def _say(self, condition: SinkCondition, reason: str) -> None:
        if self.account.set(condition, reason):
            log.warning("sink %s is %s: %s", self.spec.name, condition.value, reason)
