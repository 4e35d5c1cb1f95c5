"""The pod's end of the frame queue: pops frames in batches, fair by stream, and takes over the drops.

Called by the inference service, from one thread. Knows no engine and no metrics.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

from elastic_inference.adapters.frame_queue.plain_share import PlainShare
from elastic_inference.adapters.frame_queue.scripts import all_scripts, is_missing, script
from elastic_inference.adapters.redis_link import Link, arguments, head
from elastic_inference.base import config
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import unpack_frame

log = logging.getLogger(__name__)

MAX_POP_BYTES = 4 * 1024 * 1024
ORDER_LIFE_MS = 60_000


@dataclass(frozen=True, slots=True)
class PoppedFrame:
    """A frame in the hands of a pod.

    `order` rises by one per frame of the stream; `queue_ms` is arrival to pop by the Redis clock (0 for a plain
    frame, whose arrival nobody stamped); `popped_monotonic` is the pod's `time.monotonic()` at the pop.
    """

    frame: Frame
    order: int
    queue_ms: float
    popped_monotonic: float


@dataclass(frozen=True, slots=True)
class InvalidFrame:
    """A popped message that is no usable frame. `stream` is empty where not even that is known."""

    stream: str
    error: InvalidFrameError


@dataclass(slots=True)
class PopBatch:
    """What one pop brought: frames in order, drops at the queue that this pod now has to count, what still waits."""

    frames: list[PoppedFrame] = field(default_factory=list)
    dropped: Counter[DropReason] = field(default_factory=Counter)
    waiting: int = 0
    invalid: list[InvalidFrame] = field(default_factory=list)


class QueueConsumer:
    """Pops from one type's queue. Every method raises REDIS_ERRORS when Redis is away; call again later."""

    def __init__(self, client: redis.Redis, infer_type: str, pod: str, rules: config.QueueRules) -> None:
        """`client` is connected with `key=keys.plain_queue(infer_type)`; `pod` is unique among the type's pods."""
        self._link = Link(client)
        self._type = infer_type
        self._pod = pod
        self._rules = rules
        self._share = PlainShare()
        self._tokens = keys.tokens(infer_type)
        self._plain = keys.plain_queue(infer_type)
        begin: tuple[str | int, ...] = (
            *("EVALSHA", script("pop").sha, 4),
            *(self._tokens, self._plain, keys.dropped(infer_type), keys.plain_account(infer_type)),
            *(keys.queue_prefix(infer_type), pod),
        )
        bounds = (int(rules.max_frame_age_s * 1e6), MAX_POP_BYTES, ORDER_LIFE_MS, rules.queue_depth)
        # The script's call in Redis' protocol, as far as it is always the same, and the pops that differ in nothing
        # but the frames wanted, ready to send.
        self._pop_count = len(begin) + len(bounds) + 2
        self._pop_begin, self._pop_bounds = arguments(*begin), arguments(*bounds)
        self._usual_pops: dict[int, bytes] = {}
        # What a BLPOP or an LPOP brought and no script has got yet; survives an error in between.
        self._token: bytes | None = None
        self._messages: list[bytes] = []
        self._plain_removed = 0
        self._plain_waiting = 0
        self._tokens_waiting = 0
        self._largest_plain = 0
        # Plain frames had a turn, and the pop's bytes left no room for one.
        self._plain_passed_over = False
        self._throttle = Throttle()
        # Whether the last pop left frames, or a wait brought none: then the script looks first, BLPOP after it.
        self._look_first = True
        self._last_taken = 1 << 20  # nothing known: ask for all

    def load_scripts(self) -> None:
        """Loads every script of the queue. `pop` does it by itself whenever the server has lost them."""
        for reply in self._link.exchange([("SCRIPT", "LOAD", each.text) for each in all_scripts()]):
            if isinstance(reply, ResponseError):
                raise reply

    def pop(self, max_frames: int, wait_s: float = 1.0) -> PopBatch:
        """At most `max_frames` frames and MAX_POP_BYTES; waits up to `wait_s` (under 4 s) while there are none.

        An empty batch after the wait is normal. Waiting costs the server nothing and wakes one pod per frame.
        Raises only while it has nothing to hand out: what came before an error is returned, drops included.
        """
        batch = PopBatch()
        try:
            self._pop(batch, max_frames, wait_s)
        except (OSError, RedisError) as error:
            self._look_first = True
            if not (batch.frames or batch.invalid or batch.dropped):
                raise
            # Where Redis is away, the next call says so; a refusal may hide behind frames of the other form for good.
            if isinstance(error, ResponseError) and self._throttle.allow(str(error)[:40]):
                log.warning("part of a pop from the queue of %s failed: %s", self._type, error)
        return batch

    @property
    def plain_in_hand(self) -> int:
        """Plain frames taken from Redis and not handed out yet."""
        return len(self._messages)

    def _pop(self, batch: PopBatch, max_frames: int, wait_s: float) -> None:
        if self._look_first or self._token is not None or self._messages or wait_s <= 0:
            self._take(batch, max_frames, sparing=wait_s > 0)
            if batch.frames or batch.invalid:
                return
        if self._tokens_waiting or self._plain_waiting:
            # A turn was kept for plain frames, and there were none.
            self._take(batch, max_frames)
        elif wait_s > 0:
            # Until the wait has brought something: drops are taken over at least once a wait.
            self._look_first = True
            (got,) = self._link.exchange([("BLPOP", self._tokens, self._plain, f"{wait_s:.3f}")])
            if isinstance(got, ResponseError):
                raise got
            if got is not None:
                key, value = got
                if key == self._tokens.encode():
                    self._token = value
                else:
                    self._messages.append(value)
                    self._plain_removed += 1
                self._take(batch, max_frames, sparing=True)

    def close(self) -> None:
        """Puts back what a broken-off pop holds, as far as Redis answers, and closes the connection.

        Raises REDIS_ERRORS or ResponseError when it can't: then the token's frame is handed out with its stream's next
        one, and `plain_in_hand` says how many plain frames are lost.
        """
        try:
            if self._token is not None:
                self._put_back(self._tokens, [self._token])
                self._token = None
            if self._messages:
                self._put_back(self._plain, self._messages)
                self._messages = []
        finally:
            self._link.close()

    def _put_back(self, key: str, values: Sequence[bytes]) -> None:
        """In front of all others, in their order."""
        (reply,) = self._link.exchange([("LPUSH", key, *reversed(values))])
        if isinstance(reply, ResponseError):
            raise reply

    def _take(self, batch: PopBatch, max_frames: int, *, sparing: bool = False) -> None:
        now = time.monotonic()
        turns = self._share.turns(max_frames, now) if self._plain_waiting or self._messages else 0
        turns = max(turns, min(len(self._messages), max_frames))
        # Large frames of the fair queue leave no bytes to large plain ones: they take turns by pops then.
        wanted = 0 if self._plain_passed_over and turns else max_frames - turns
        if sparing and not self._tokens_waiting:
            # As far as is known there is nothing, or what has come just now: each frame asked for costs a fetch, there
            # or not. What is not asked for waits, and the next pop asks for all.
            wanted = min(wanted, 2 * self._last_taken)
        wanted = max(wanted, 1 if self._token is not None else 0)
        (tokens_left, plain_left, drops, found), messages = self._run_pop(wanted)
        popped = time.monotonic()
        taken = len(found) // 3
        for index in range(taken):
            name, order, waited_us = found[3 * index : 3 * index + 3]
            self._add_fair(batch, name.decode(), messages[index], order=order, waited_us=waited_us, popped=popped)
        for reason, number in zip(drops[::2], drops[1::2], strict=True):
            batch.dropped[DropReason(reason.decode())] += int(number)
        self._tokens_waiting, self._plain_waiting = tokens_left, plain_left
        self._last_taken = max(1, taken)
        batch.waiting = tokens_left + plain_left
        if plain_left or self._messages:
            fair_bytes = sum(len(message or b"") for message in messages)
            self._add_plain(batch, self._pop_plain(max_frames - taken, turns, fair_bytes))
            batch.waiting = self._tokens_waiting + self._plain_waiting
        else:
            self._plain_passed_over = False
        self._look_first = batch.waiting > 0

    def _run_pop(self, wanted: int) -> tuple[list[Any], list[bytes | None]]:
        """The script's reply and the messages of the frames that it took (None: expired in between)."""
        reported = self._plain_removed
        packed = self._packed_pop(wanted, reported)
        reply, *messages = self._link.exchange_packed([packed], 1 + wanted)
        if is_missing(reply):
            self.load_scripts()
            reply, *messages = self._link.exchange_packed([packed], 1 + wanted)
        if isinstance(reply, ResponseError):
            raise reply
        self._token = None
        self._plain_removed -= reported
        return reply, messages

    def _packed_pop(self, wanted: int, reported: int) -> bytes:
        """The script's call and the fetches of what it takes."""
        usual = not reported and self._token is None
        if usual and (ready := self._usual_pops.get(wanted)):
            return ready
        further = () if self._token is None else ("1", self._token)
        packed = [
            *(head(self._pop_count + len(further)), self._pop_begin, arguments(wanted)),
            *(self._pop_bounds, arguments(reported, *further)),
        ]
        for index in range(wanted):
            packed += (head(2), arguments("GETDEL", keys.taken(self._type, self._pod, index)))
        joined = b"".join(packed)
        if usual:
            self._usual_pops[wanted] = joined
        return joined

    def _pop_plain(self, room: int, turns: int, fair_bytes: int) -> int:
        """Fetches plain messages for this batch, after those in hand; how many of all in hand belong to it."""
        if self._tokens_waiting:
            room = min(room, turns)
        size = fair_bytes + sum(map(len, self._messages))
        # A list tells no sizes: the largest of late stands for each, all that a pop may hold where none is known.
        fits = max(0, MAX_POP_BYTES - size) // (self._largest_plain or MAX_POP_BYTES)
        if size == 0:
            fits = max(1, fits)
        count = min(room - len(self._messages), self._plain_waiting)
        self._plain_passed_over = count > 0 and fits == 0 and not self._messages
        count = min(count, fits)
        if count > 0:
            (got,) = self._link.exchange([("LPOP", self._plain, count)])
            if isinstance(got, ResponseError):
                raise got
            got = got or []
            self._plain_removed += len(got)
            self._plain_waiting = max(0, self._plain_waiting - len(got))
            self._messages += got
        taken = min(room, len(self._messages))
        if taken > 0:
            self._largest_plain = max(*map(len, self._messages[:taken]), int(self._largest_plain * 0.9), 1)
            if self._tokens_waiting:
                self._share.spend(taken)
        return taken

    def _add_fair(
        self, batch: PopBatch, name: str, message: bytes | None, *, order: int, waited_us: int, popped: float
    ) -> None:
        self._share.saw_fair(name, popped)
        if message is None:
            # It expired between the script and the fetch.
            batch.dropped[DropReason.STALE] += 1
            return
        frame = self._unpack(batch, message, name)
        if frame is None:
            return
        if frame.name != name:
            error = InvalidFrameError(InvalidReason.NAME, f"a message of {frame.name!r} in the stream {name!r}")
            batch.invalid.append(InvalidFrame(name, error))
            return
        batch.frames.append(PoppedFrame(frame, order, waited_us / 1000, popped))

    def _add_plain(self, batch: PopBatch, count: int) -> None:
        """Moves the first `count` messages in hand into the batch; on an error those that are frames stay in hand."""
        if count <= 0:
            return
        popped = time.monotonic()
        frames, good = [], []
        for message in self._messages[:count]:
            frame = self._unpack(batch, message, "")
            if frame is not None:
                frames.append(frame)
                good.append(message)
                self._share.saw_plain(frame.name, popped)
        self._messages[:count] = good
        if not frames:
            return
        counts = Counter(frame.name for frame in frames)
        command = (
            *("EVALSHA", script("order").sha, len(counts)),
            *(keys.order(self._type, name) for name in counts),
            *(ORDER_LIFE_MS, *counts.values()),
        )
        (reply,) = self._link.exchange([command])
        if is_missing(reply):
            self.load_scripts()
            (reply,) = self._link.exchange([command])
        if isinstance(reply, ResponseError):
            raise reply
        del self._messages[: len(good)]
        next_order = {name: last - counts[name] + 1 for name, last in zip(counts, reply, strict=True)}
        for frame in frames:
            batch.frames.append(PoppedFrame(frame, next_order[frame.name], 0.0, popped))
            next_order[frame.name] += 1

    def _unpack(self, batch: PopBatch, message: bytes, name: str) -> Frame | None:
        rules = self._rules
        try:
            return unpack_frame(message, self._type, max_bytes=rules.max_frame_bytes, max_pixels=rules.max_frame_pixels)
        except InvalidFrameError as error:
            batch.invalid.append(InvalidFrame(name, error))
            return None
