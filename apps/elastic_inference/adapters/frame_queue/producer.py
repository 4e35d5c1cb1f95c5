"""The producer's end of the frame queue: one stream into one type.

Called by the stream services, from one thread. It uses only what the ACL user *camera* may do.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.exceptions import OutOfMemoryError, ResponseError

from elastic_inference.adapters.frame_queue.scripts import is_missing, script
from elastic_inference.adapters.redis_pipeline import PipelineConnection, arguments, head
from elastic_inference.base import config
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidReason
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_frame

log = logging.getLogger(__name__)

FRAME_LIFE_EXTRA_S = 5.0
SOURCE_LIFE_S = 10.0
# After NOSCRIPT, frames are pushed in the legacy form for this long before the script is tried again.
LEGACY_FORM_S = 0.5
MAX_BATCH = 256


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """The result of a push.

    `pushed`: all frames entered the queue; `frames` is their number. `dropped`: drops that the producer must count
    itself (`queue_memory`); drops by the queue's rules are counted at the queue, and pods claim them. `invalid`: a
    message was larger than MAX_FRAME_BYTES and was not sent.
    """

    pushed: bool
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    frames: int = 0
    invalid: InvalidReason | None = None


_ONE_PUSHED = PushOutcome(True, frames=1)


class QueueProducer:
    """Pushes one stream's frames into one type's queue. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(
        self, client: redis.Redis | PipelineConnection, infer_type: str, name: str, rules: config.QueueRules
    ) -> None:
        """`client` is connected with `key=keys.legacy_queue(infer_type)`; `name` passes `keys.is_name`.

        Producers of one thread may share a connection.
        """
        self._link = client if isinstance(client, PipelineConnection) else PipelineConnection(client)
        self._type = infer_type
        self._name = name
        self._rules = rules
        self._identity = secrets.token_hex(5)
        self._id_start = self._identity.encode() + b"-"
        self._count = 0
        self._legacy_until = 0.0
        self._other_seen = False
        self._throttle = Throttle()
        self._frame_prefix = keys.frame(infer_type, name, "").encode()
        life_ms = int((rules.max_frame_age_s + FRAME_LIFE_EXTRA_S) * 1000)
        # The parts of a push that never change, in Redis' protocol: `SET key message PX life` of each frame …
        self._set_begin = head(5) + arguments("SET")
        self._set_end = b"\r\n" + arguments("PX", life_ms)
        # … and the script with its arguments; those of the frames follow.
        enter: tuple[str | int, ...] = (
            *("EVALSHA", script("push").sha, 3),
            *(keys.tokens(infer_type), keys.waiting(infer_type, name), keys.dropped(infer_type)),
            *(keys.queue_prefix(infer_type), name, rules.stream_queue_depth, rules.token_limit),
        )
        self._enter_count = len(enter)
        self._enter = arguments(*enter)

    def push(self, frame: Frame) -> PushOutcome:
        """Pushes one frame, whose name and category must be this producer's."""
        return self.push_batch((frame,))

    def push_batch(self, frames: Sequence[Frame]) -> PushOutcome:
        """Pushes frames, oldest first, in round trips of at most 256."""
        messages = []
        invalid = None
        for frame in frames:
            message = pack_frame(frame)
            if len(message) > self._rules.max_frame_bytes:
                invalid = InvalidReason.TOO_LARGE
                if self._throttle.allow(invalid):
                    log.warning(
                        "stream %s: a frame message of %d bytes is not sent, MAX_FRAME_BYTES is %d",
                        *(self._name, len(message), self._rules.max_frame_bytes),
                    )
            else:
                messages.append(message)
        pushed = 0
        for start in range(0, len(messages), MAX_BATCH):
            pushed += self._push_messages(messages[start : start + MAX_BATCH])
        if pushed == 1 == len(frames):
            return _ONE_PUSHED
        refused = len(messages) - pushed
        dropped = {DropReason.QUEUE_MEMORY: refused} if refused else {}
        return PushOutcome(pushed == len(frames), dropped, pushed, invalid)

    def report_source(self, state: str, fps: float, reconnects: int, dropped: int) -> None:
        """Reports the source's state, such as `live`. It expires after 10 s; call each second.

        `fps` is what the source delivers; `reconnects` and `dropped` count from the producer's start. Logs, once a
        minute, that another producer uses the same name.
        """
        source = keys.source(self._type, self._name)
        clock, owner = self._link.exchange([("TIME",), ("HGET", source, "producer")])
        if isinstance(clock, ResponseError):
            raise clock
        if _is_wrong_type(owner):
            self._link.exchange([("UNLINK", source)])
            owner = None
        if isinstance(owner, ResponseError):
            raise owner
        # A foreign mark found at the start is a predecessor's. One that has replaced ours is a rival's.
        rival = owner is not None and owner != self._identity.encode()
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
        replies = self._link.exchange(
            [
                (
                    *("HSET", source, "state", state, "fps", f"{fps:.2f}", "reconnects", reconnects),
                    *("dropped", dropped, "producer", self._identity),
                ),
                ("PEXPIRE", source, int(SOURCE_LIFE_S * 1000)),
                added,
            ]
        )
        if _is_wrong_type(replies[-1]):
            replies[-1:] = self._link.exchange([("UNLINK", sources), added])
        for reply in replies:
            # Out of memory: push counts the lost frames, and the report can wait.
            if isinstance(reply, ResponseError) and not isinstance(reply, OutOfMemoryError):
                raise reply

    def close(self) -> None:
        """Closes the connection."""
        self._link.close()

    def _push_messages(self, messages: Sequence[bytes]) -> int:
        """How many of the messages entered the queue: all or, if Redis is out of memory, fewer."""
        if not messages:
            return 0
        if time.monotonic() < self._legacy_until:
            return self._push_legacy(messages, ())
        ids = [b"%b%x" % (self._id_start, number) for number in range(self._count, self._count + len(messages))]
        self._count += len(messages)
        pieces: list[bytes] = []
        entries = [self._enter]
        end = b""
        for message, frame_id in zip(messages, ids, strict=True):
            key = self._frame_prefix + frame_id
            size = len(message)
            pieces.append(b"%b%b$%d\r\n%b\r\n$%d\r\n" % (end, self._set_begin, len(key), key, size))
            pieces.append(message)
            end = self._set_end
            entry = b"%d %b" % (size, frame_id)
            entries.append(b"$%d\r\n%b\r\n" % (len(entry), entry))
        pieces.append(end + head(self._enter_count + len(messages)) + b"".join(entries))
        entered = self._link.exchange_packed(pieces, len(messages) + 1)[-1]
        if type(entered) is int:
            return len(messages)
        frame_keys = [self._frame_prefix + frame_id for frame_id in ids]
        if is_missing(entered):
            self._legacy_until = time.monotonic() + LEGACY_FORM_S
            return self._push_legacy(messages, frame_keys)
        if isinstance(entered, OutOfMemoryError):
            # Frames that were SET before the memory ran out would only take up more of it.
            self._link.exchange([("UNLINK", *frame_keys)])
            return 0
        if isinstance(entered, ResponseError):
            raise entered
        return len(messages)

    def _push_legacy(self, messages: Sequence[bytes], orphans: Sequence[bytes]) -> int:
        commands: list[tuple[Any, ...]] = [("UNLINK", *orphans)] if orphans else []
        queue = keys.legacy_queue(self._type)
        pushes: list[tuple[Any, ...]] = [("RPUSH", queue, message) for message in messages]
        replies = self._link.exchange([*commands, *pushes])
        if _is_wrong_type(replies[-1]):
            replies = self._link.exchange([("UNLINK", queue), *pushes])
        refused = 0
        for reply in replies:
            if isinstance(reply, OutOfMemoryError):
                refused += 1
            elif isinstance(reply, ResponseError):
                raise reply
        return len(messages) - refused


def _is_wrong_type(reply: object) -> bool:
    """Whether a key holds the wrong type of value (from a foreign SET). Such a key is deleted."""
    return isinstance(reply, ResponseError) and str(reply).startswith("WRONGTYPE")
