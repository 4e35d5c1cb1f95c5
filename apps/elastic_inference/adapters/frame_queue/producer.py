"""The producer's end of the frame queue: one stream into one type.

Called by the stream services, from one thread. It uses only what the ACL user *camera* may do.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis
from redis.exceptions import OutOfMemoryError, ResponseError

from elastic_inference.adapters.frame_queue.push_request import Message, PushLease, PushOutcome, PushPacker, PushRequest
from elastic_inference.adapters.frame_queue.push_round import MAX_BATCH, push_many
from elastic_inference.adapters.frame_queue.scripts import is_missing
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidReason
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_start
from elastic_inference.domain.image_size import ANSWER_UNIT

log = logging.getLogger(__name__)

SOURCE_LIFE_S = 10.0
# After NOSCRIPT, frames are pushed in the legacy form for this long before the script is tried again.
LEGACY_FORM_S = 0.5
# How long the queue remembers the lease of a stream after its last push.
LEASE_LIFE_S = 600.0
_FENCED = re.compile(r"EI_FENCED (\d{1,16})")

_ONE_PUSHED = PushOutcome(True, frames=1)


class QueueProducer:
    """Pushes one stream's frames into one type's queue. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(
        self,
        client: redis.Redis | PipelineConnection,
        infer_type: str,
        name: str,
        rules: config.QueueRules,
        lease: PushLease | None = None,
    ) -> None:
        """`client` is connected with `key=keys.legacy_queue(infer_type)`; `name` passes `keys.is_name`.

        Producers of one thread may share a connection. With a lease, which the producers of all types of the stream
        share, frames have numbers, the queue refuses those of an older epoch, and there is no legacy form.
        """
        self.connection = client if isinstance(client, PipelineConnection) else PipelineConnection(client)
        self.lease = lease
        # Whether each push asks which frame size is needed; may be set at any time.
        self.asks_size = False
        self._type, self._name = infer_type, name
        self._rules = rules
        self._legacy_until = 0.0
        self._other_seen = False
        self._throttle = Throttle()
        # Epoch and seq of the last frame that entered the queue.
        self._pushed = (0, -1)
        self._packer = PushPacker(infer_type, name, rules, leased=lease is not None)

    @property
    def pushes_legacy(self) -> bool:
        """Whether it pushes the legacy form now, because the server lacks the script."""
        return time.monotonic() < self._legacy_until

    def push(self, frame: Frame) -> PushOutcome:
        """Pushes one frame, whose name and category must be this producer's."""
        return self.push_batch((frame,))

    def push_batch(self, frames: Sequence[Frame]) -> PushOutcome:
        """Pushes frames, oldest first, in round trips of at most 256. See also `push_many`."""
        if self.lease is not None:
            (outcome,) = push_many(((self, frames),))
            if isinstance(outcome, ResponseError):
                raise outcome
            return outcome
        messages, invalid = self._messages(frames, 0)
        pushed = 0
        for start in range(0, len(messages), MAX_BATCH):
            pushed += self._push_messages(messages[start : start + MAX_BATCH])
        return _outcome(len(frames), pushed, len(messages) - pushed, invalid)

    def request(self, frames: Sequence[Frame]) -> PushRequest | PushOutcome:
        """The request that `push_many` sends for these frames, or their outcome if there is nothing to send."""
        lease = self.lease
        messages, invalid = self._messages(frames, lease.offset if lease else 0)
        if not messages:
            return _outcome(len(frames), 0, 0, invalid)
        if lease is None:
            return self._packer.pack(messages, asks=self.asks_size)
        if lease.fenced:
            return _outcome(len(frames), 0, len(messages), invalid, DropReason.FENCED)
        first, last = ((frames[at].seq or 0) + lease.offset for at in (0, -1))
        epoch, (pushed_epoch, seq) = lease.epoch, self._pushed
        told = epoch, first, last, int(LEASE_LIFE_S * 1000), seq if pushed_epoch == epoch else -1
        return self._packer.pack(messages, told, asks=self.asks_size)

    def settle(self, frames: Sequence[Frame], request: PushRequest, reply: object) -> PushOutcome:
        """The outcome of a request. Raises ResponseError for an error that concerns this stream."""
        sent = len(request.messages)
        invalid = InvalidReason.TOO_LARGE if sent < len(frames) else None
        fenced = _FENCED.match(str(reply)) if self.lease is not None and isinstance(reply, ResponseError) else None
        if fenced and self.lease is not None:
            self.lease.fenced_by = int(fenced[1])
            return _outcome(len(frames), 0, sent, invalid, DropReason.FENCED)
        pushed = self._entered(request, reply)
        if request.lease and pushed:
            epoch, _, last, *_ = request.lease
            self._pushed = epoch, last
        outcome = _outcome(len(frames), pushed, sent - pushed, invalid)
        if self.asks_size and type(reply) is int:
            return replace(outcome, wanted=reply // ANSWER_UNIT)
        return outcome

    @property
    def size_keys(self) -> tuple[str, str]:
        """The keys that tell which frame size is needed, to be read between pushes."""
        return keys.size_wanted(self._type, self._name), keys.model_size(self._type)

    def report_source(self, state: str, fps: float, reconnects: int, dropped: int) -> None:
        """Reports the source's state, such as `live`. It expires after 10 s; call it every second.

        `fps` is what the source delivers; `reconnects` and `dropped` count from the producer's start. Logs, once a
        minute, that another producer uses the same name.
        """
        source = keys.source(self._type, self._name)
        clock, owner = self.connection.exchange([("TIME",), ("HGET", source, "producer")])
        if isinstance(clock, ResponseError):
            raise clock
        if _is_wrong_type(owner):
            self.connection.exchange([("UNLINK", source)])
            owner = None
        if isinstance(owner, ResponseError):
            raise owner
        # A foreign mark found at the start is a predecessor's. One that has replaced ours is a rival's.
        # On a leased stream, it is the worker that has claimed it, or the one that hands it over.
        rival = self.lease is None and owner is not None and owner != self._packer.identity.encode()
        if rival and self._other_seen and self._throttle.allow("rival"):
            log.warning(
                "stream %s of type %s: another producer pushes under the same name; give one of them another "
                "STREAM_NAME",
                *(self._name, self._type),
            )
        self._other_seen = True
        seen_ms = int(clock[0]) * 1000 + int(clock[1]) // 1000
        sources = keys.sources(self._type)
        added: tuple[Any, ...] = ("ZADD", sources, seen_ms, self._name)
        replies = self.connection.exchange(
            [
                (
                    *("HSET", source, "state", state, "fps", f"{fps:.2f}", "reconnects", reconnects),
                    *("dropped", dropped, "producer", self._packer.identity),
                ),
                ("PEXPIRE", source, int(SOURCE_LIFE_S * 1000)),
                added,
            ]
        )
        if _is_wrong_type(replies[-1]):
            replies[-1:] = self.connection.exchange([("UNLINK", sources), added])
        for reply in replies:
            # Out of memory: push counts the lost frames, and the report can wait.
            if isinstance(reply, ResponseError) and not isinstance(reply, OutOfMemoryError):
                raise reply

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()

    def _push_messages(self, messages: Sequence[Message]) -> int:
        """How many of the messages entered the queue: all or, if Redis is out of memory, fewer."""
        if not messages:
            return 0
        if self.pushes_legacy:
            return self._push_legacy(messages, ())
        request = self._packer.pack(messages)
        return self._entered(request, self.connection.exchange_packed(request.pieces, request.count)[-1])

    def _entered(self, request: PushRequest, reply: object) -> int:
        """How many frames entered the queue, by the script's reply."""
        if type(reply) is int:
            return len(request.messages)
        if is_missing(reply) and self.lease is None:
            self._legacy_until = time.monotonic() + LEGACY_FORM_S
            return self._push_legacy(request.messages, request.frame_keys)
        if isinstance(reply, OutOfMemoryError):
            # Frames that were SET before the memory ran out would only take up more of it.
            self.connection.exchange([("UNLINK", *request.frame_keys)])
            return 0
        if isinstance(reply, ResponseError):
            raise reply
        return len(request.messages)

    def _messages(self, frames: Sequence[Frame], offset: int) -> tuple[list[Message], InvalidReason | None]:
        messages = []
        invalid = None
        most = self._rules.max_frame_bytes
        for frame in frames:
            start = pack_start(replace(frame, seq=(frame.seq or 0) + offset) if offset else frame)
            size = len(start) + len(frame.data)
            if size > most:
                invalid = InvalidReason.TOO_LARGE
                if self._throttle.allow(invalid):
                    log.warning(
                        "stream %s: a frame message of %d bytes is not sent, MAX_FRAME_BYTES is %d",
                        *(self._name, size, most),
                    )
            else:
                messages.append((start, frame.data))
        return messages, invalid

    def _push_legacy(self, messages: Sequence[Message], orphans: Sequence[bytes]) -> int:
        commands: list[tuple[Any, ...]] = [("UNLINK", *orphans)] if orphans else []
        queue = keys.legacy_queue(self._type)
        pushes: list[tuple[Any, ...]] = [("RPUSH", queue, start + image) for start, image in messages]
        replies = self.connection.exchange([*commands, *pushes])
        if _is_wrong_type(replies[-1]):
            replies = self.connection.exchange([("UNLINK", queue), *pushes])
        refused = 0
        for reply in replies:
            if isinstance(reply, OutOfMemoryError):
                refused += 1
            elif isinstance(reply, ResponseError):
                raise reply
        return len(messages) - refused


def _outcome(
    frames: int, pushed: int, refused: int, invalid: InvalidReason | None, why: DropReason = DropReason.QUEUE_MEMORY
) -> PushOutcome:
    """The outcome for `frames` frames, of which Redis refused `refused`."""
    if pushed == 1 == frames:
        return _ONE_PUSHED
    return PushOutcome(pushed == frames, {why: refused} if refused else {}, pushed, invalid)


def _is_wrong_type(reply: object) -> bool:
    """Whether a key holds the wrong type of value (from a foreign SET). Such a key is deleted."""
    return isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE")
