"""The pod's end of the frame queue: pops frames in batches, fair by stream, and claims the drops at the queue.

Called by the inference service, from one thread. It combines two queues with one interface (`PodQueue`): the fair
queue, and the legacy queue of producers that push with a bare `RPUSH`. Independent of the engine and metrics.
"""

from __future__ import annotations

import logging
import time

import redis
from redis.exceptions import RedisError, ResponseError

from elastic_inference.adapters.frame_queue.fair_queue import FairQueue
from elastic_inference.adapters.frame_queue.legacy_queue import LegacyQueue
from elastic_inference.adapters.frame_queue.legacy_share import LegacyShare
from elastic_inference.adapters.frame_queue.pop_batch import PodQueue, PopBatch
from elastic_inference.adapters.frame_queue.scripts import load_all
from elastic_inference.adapters.frame_queue.wanted_sizes import EventMarks, ModelSizeWriter
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.image_size import ModelSize

log = logging.getLogger(__name__)

# How often a pod marks its type, and the mark's lifetime: long enough for a type without pods over holidays.
_MARK_EVERY_S = 3600.0
MARK_LIFE_S = 7 * 24 * 3600


class QueueConsumer:
    """Pops from one type's queue. Every method raises REDIS_ERRORS when Redis is unavailable; call again later."""

    def __init__(
        self,
        client: redis.Redis,
        infer_type: str,
        pod: str,
        rules: config.QueueRules,
        model_size: ModelSize | None = None,
    ) -> None:
        """`client` is connected with `key=keys.legacy_queue(infer_type)`; `pod` is unique among the type's pods.

        Producers learn of `model_size`, so that they need not send more than the model uses.
        """
        self._link = PipelineConnection(client)
        self._type = infer_type
        self._fair = FairQueue(self._link, infer_type, pod, rules)
        self._legacy = LegacyQueue(self._link, infer_type, rules)
        self._share = LegacyShare()
        self._throttle = Throttle()
        # Whether to run the scripts before BLPOP: the last pop left frames, or a wait ended without one.
        self._look_first = True
        self._last_taken = 1 << 20  # nothing is known yet: ask for all frames
        self._mark_due_s = float("inf")
        self._size = None if model_size is None else ModelSizeWriter(self._link, infer_type, model_size)
        self._events = EventMarks(self._link, infer_type)

    def want_full(self, name: str) -> None:
        """Any thread: an event wants an image of this stream; its next frames should have full size."""
        self._events.note(name)

    def need_size(self, size: ModelSize) -> None:
        """Any thread: another model needs frames of this size from now on."""
        self._size = ModelSizeWriter(self._link, self._type, size)

    def load_scripts(self) -> None:
        """Loads every script of the queue and marks the type: call it at start and when Redis is back.

        `pop` loads the scripts itself when the server has lost them.
        """
        load_all(self._link)
        self._mark()

    def pop(self, max_frames: int, wait_s: float = 1.0) -> PopBatch:
        """At most `max_frames` frames and MAX_POP_BYTES; waits up to `wait_s` (under 4 s) while there are none.

        An empty batch after the wait is normal. Waiting costs the server nothing and wakes one pod per frame.
        Raises only if there is nothing to return: frames and drops that came before an error are returned.
        """
        batch = PopBatch()
        try:
            self._pop(batch, max_frames, wait_s)
        except Exception as error:
            self._look_first = True
            if not (batch.frames or batch.invalid or batch.dropped or batch.tombstones):
                raise
            # If Redis is unavailable, the next call raises. But a bug, or a command that Redis refuses for one queue,
            # might never be seen while the other queue delivers frames: log it.
            known = isinstance(error, (OSError, RedisError))
            if not known or isinstance(error, ResponseError):
                self._report(error, known=known)
        return batch

    @property
    def legacy_in_hand(self) -> int:
        """Legacy frames taken from Redis and not returned by a pop yet."""
        return self._legacy.in_hand

    def close(self) -> None:
        """Puts back what an interrupted pop holds, if Redis answers, and closes the connection.

        Raises REDIS_ERRORS or ResponseError when it cannot. Then the token's frame waits for its stream's next one,
        and `legacy_in_hand` legacy frames are lost.
        """
        try:
            self._fair.put_back()
            self._legacy.put_back()
        finally:
            self._link.close()

    def _report(self, error: Exception, *, known: bool) -> None:
        if note := self._throttle.note(str(error)[:40]):
            trace = None if known else error
            log.warning("part of a pop from the queue of %s failed: %s %s", self._type, error, note, exc_info=trace)

    def _pop(self, batch: PopBatch, max_frames: int, wait_s: float) -> None:
        fair, legacy = self._fair, self._legacy
        now_s = time.monotonic()
        if now_s >= self._mark_due_s:
            self._mark()
        if self._size is not None:
            self._size.write(now_s)
        self._events.write()
        if self._look_first or fair.in_hand or legacy.in_hand or wait_s <= 0:
            self._take(batch, max_frames, sparing=wait_s > 0)
            if batch.frames or batch.invalid:
                return
        if fair.waiting or legacy.waiting:
            # A turn was reserved for legacy frames, but there were none.
            self._take(batch, max_frames)
        elif wait_s > 0:
            # Unless the wait brings something, the next pop looks first: drops are claimed at least once a wait.
            self._look_first = True
            asked_s = time.monotonic()
            (got,) = self._link.exchange([("BLPOP", fair.key, legacy.key, f"{wait_s:.3f}")])
            if isinstance(got, ResponseError):
                raise got
            if got is not None:
                key, value = got
                queue: PodQueue = fair if key == fair.key.encode() else legacy
                # A process that was stopped meanwhile reads the reply late.
                queue.keep(value, min(time.monotonic(), asked_s + wait_s + 1.0))
                self._take(batch, max_frames, sparing=True)

    def _mark(self) -> None:
        """Tells housekeeping and the gateway that no client has invented this type. A full Redis may refuse."""
        (done,) = self._link.exchange([("SET", keys.pods_mark(self._type), 1, "EX", MARK_LIFE_S)])
        later_s = 60.0 if isinstance(done, ResponseError) else _MARK_EVERY_S
        self._mark_due_s = time.monotonic() + later_s

    def _take(self, batch: PopBatch, max_frames: int, *, sparing: bool = False) -> None:
        """One exchange for both queues; the legacy queue needs more if it has frames."""
        fair, legacy = self._fair, self._legacy
        turns, wanted = self._divide(max_frames, sparing=sparing)
        fair_request, fair_count = fair.request(wanted)
        legacy_request, legacy_count = legacy.request(turns)
        replies = self._link.exchange_packed([fair_request + legacy_request], fair_count + legacy_count)
        now = time.monotonic()
        names = fair.accept(replies[:fair_count], batch, wanted)
        for name in names:
            self._share.saw_fair(name, now)
        self._last_taken = max(1, len(names))
        room = max_frames - len(names)
        if fair.waiting:
            room = min(room, turns)
        try:
            names = legacy.accept(replies[fair_count:], batch, room)
        finally:
            batch.waiting = fair.waiting + legacy.waiting
            if batch.totals is not None:
                batch.totals = batch.totals[0] + legacy.uncounted, batch.totals[1]
        for name in filter(None, names):
            self._share.saw_legacy(name, now)
        if fair.waiting:
            self._share.spend(len(names))
        self._look_first = batch.waiting > 0

    def _divide(self, max_frames: int, *, sparing: bool) -> tuple[int, int]:
        """(turns of the legacy queue, frames to ask the fair queue for)."""
        fair, legacy = self._fair, self._legacy
        turns = 0
        if legacy.waiting or legacy.in_hand:
            turns = max(self._share.turns(max_frames, time.monotonic()), min(legacy.in_hand, max_frames))
        # Large fair frames leave no bytes for large legacy ones: then they alternate pop by pop.
        wanted = 0 if legacy.passed_over and turns else max_frames - turns
        if sparing and not fair.waiting:
            # The queue was empty until now. Each frame requested costs a fetch, even if it does not exist, so only few
            # are requested; the next pop requests all others.
            wanted = min(wanted, 2 * self._last_taken)
        return turns, max(wanted, fair.in_hand)
