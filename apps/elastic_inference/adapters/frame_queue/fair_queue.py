"""The fair queue as a pod pops from it: one token per waiting frame, each stream in turn.

Called by `QueueConsumer`. The script `pop.lua` renames frames to keys of this pod; the same exchange fetches them.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from redis.exceptions import ResponseError

from elastic_inference.adapters.frame_queue.pop_batch import (
    MAX_POP_BYTES,
    ORDER_LIFE_MS,
    InvalidFrame,
    PopBatch,
    PoppedFrame,
)
from elastic_inference.adapters.frame_queue.scripts import is_missing, load_all, script
from elastic_inference.adapters.redis_errors import REDIS_ERRORS
from elastic_inference.adapters.redis_input import DropClaims, read_count, read_name
from elastic_inference.adapters.redis_pipeline import PipelineConnection, arguments, head
from elastic_inference.base import config
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason

log = logging.getLogger(__name__)

# A reply that takes longer may be old when it is read.
_LATE_S = 1.0
_NO_TIME: tuple[type[Exception], ...] = (*REDIS_ERRORS, TypeError, ValueError)


class FairQueue:
    """A `PodQueue`; also claims the drops of all queues of its type."""

    def __init__(self, link: PipelineConnection, infer_type: str, pod: str, rules: config.QueueRules) -> None:
        self.key = keys.tokens(infer_type)
        self.waiting = 0
        self._link = link
        self._type = infer_type
        self._pod = pod
        self._rules = rules
        self._token: bytes | None = None
        self._wanted = 0
        self._asked_s = 0.0
        self._claims = DropClaims()
        self._throttle = Throttle()
        begin: tuple[str | int, ...] = (
            *("EVALSHA", script("pop").sha, 2, self.key, keys.dropped(infer_type)),
            *(keys.queue_prefix(infer_type), pod),
        )
        bounds = (int(rules.max_frame_age_s * 1e6), MAX_POP_BYTES, ORDER_LIFE_MS)
        # The constant parts of the script's call, packed once; and complete requests, by the number of frames wanted.
        self._argument_count = len(begin) + 1 + len(bounds)
        self._begin, self._bounds = arguments(*begin), arguments(*bounds)
        self._usual_requests: dict[int, bytes] = {}

    @property
    def in_hand(self) -> int:
        return 0 if self._token is None else 1

    def keep(self, value: bytes, taken_s: float) -> None:
        self._token = value

    def request(self, wanted: int) -> tuple[bytes, int]:
        """The script's call, and a fetch for each frame that it may take."""
        self._wanted = wanted
        self._asked_s = time.monotonic()
        if self._token is not None:
            return self._packed(wanted, (self._token,)), 1 + wanted
        ready = self._usual_requests.get(wanted)
        if ready is None:
            ready = self._usual_requests[wanted] = self._packed(wanted, ())
        return ready, 1 + wanted

    def accept(self, replies: list[Any], batch: PopBatch, room: int) -> list[str]:
        """Adds the frames that the script took, never more than requested, and the drops that it claimed."""
        if is_missing(replies[0]):
            load_all(self._link)
            request, count = self.request(self._wanted)
            replies = self._link.exchange_packed([request], count)
        if isinstance(replies[0], ResponseError):
            raise replies[0]
        self._token = None
        waiting, drops, found, called_us, *totals = replies[0]
        self.waiting = read_count(waiting)
        self._claim(drops, batch)
        if len(totals) == 2 and all(isinstance(each, int) and each >= 0 for each in totals):
            batch.totals = totals[0], totals[1]
        popped = self._popped_at(called_us) if found else 0.0
        names = []
        for index in range(len(found) // 3):
            name, order, waited_us = found[3 * index : 3 * index + 3]
            text = read_name(name)
            if text is None:  # the script never returns such a name
                continue
            self._add(batch, text, replies[1 + index], order=order, waited_us=waited_us, popped=popped)
            names.append(text)
        return names

    def put_back(self) -> None:
        """Pushes an unused token back. Otherwise its frame would wait for its stream's next one."""
        if self._token is not None:
            (reply,) = self._link.exchange([("LPUSH", self.key, self._token)])
            if isinstance(reply, ResponseError):
                raise reply
            self._token = None

    def _popped_at(self, called_us: int) -> float:
        """When the script ran, by this process's monotonic clock.

        A process that is stopped while it waits for the reply reads it late. The reply is late also if Redis hung, but
        then the script has only just run. Redis' own clock tells the two apart.
        """
        now_s = time.monotonic()
        if now_s - self._asked_s < _LATE_S:
            return now_s
        try:
            (reply,) = self._link.exchange([("TIME",)])
            late_s = int(reply[0]) + int(reply[1]) / 1e6 - called_us / 1e6
        except _NO_TIME:
            # The frames that were popped must be handed out, whatever Redis says now.
            return self._asked_s
        return time.monotonic() - max(0.0, late_s)

    def _claim(self, drops: Any, batch: PopBatch) -> None:
        if not drops:
            self._claims.skip()
            return
        batch.dropped.update(self._claims.read(drops))
        if self._claims.refused and self._throttle.allow("drops"):
            log.warning(
                "type %s: %d claimed drops were not counted, no queue drops that many; another program may have "
                "written into %s (logged once a minute)",
                *(self._type, self._claims.refused, keys.dropped(self._type)),
            )
            self._claims.refused = 0

    def _packed(self, wanted: int, further: tuple[bytes, ...]) -> bytes:
        pieces = [
            *(head(self._argument_count + len(further)), self._begin, arguments(wanted), self._bounds),
            arguments(*further),
        ]
        for index in range(wanted):
            pieces += (head(2), arguments("GETDEL", keys.taken(self._type, self._pod, index)))
        return b"".join(pieces)

    def _add(self, batch: PopBatch, name: str, message: Any, *, order: int, waited_us: int, popped: float) -> None:
        if not isinstance(message, bytes):
            # It expired between the script and the fetch, or its key is of another type.
            batch.dropped[DropReason.STALE] += 1
            batch.add_tombstone(name, self._type, order, DropReason.STALE)
            return
        frame = batch.unpack(message, self._type, self._rules)
        if not isinstance(frame, InvalidFrameError):
            if frame.name == name:
                batch.frames.append(PoppedFrame(frame, order, waited_us / 1000, popped))
                return
            frame = InvalidFrameError(InvalidReason.NAME, f"a message of {frame.name!r} in the stream {name!r}")
        batch.invalid.append(InvalidFrame(name, frame, order))
        batch.add_tombstone(name, self._type, order, frame.reason)
