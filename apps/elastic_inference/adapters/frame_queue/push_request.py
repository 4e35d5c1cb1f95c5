"""A push in Redis' protocol: frames of one stream and the script that queues them, packed for one round trip.

Called by `producer` and `push_many`. Does no I/O.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.redis_pipeline import arguments, head
from elastic_inference.base import config
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidReason

FRAME_LIFE_EXTRA_S = 5.0
# A frame message in two parts, the second of which is the image: together they would be a copy of it.
Message = tuple[bytes, bytes]
# The script's argument that asks which frame size is needed.
_ASK = (arguments("size"),)


@dataclass(frozen=True, slots=True)
class PushOutcome:
    """The result of a push.

    `pushed`: all frames entered the queue; `frames` is their number. `dropped`: drops that the producer must count
    itself (`queue_memory`, `fenced`); drops by the queue's rules are counted at the queue, and pods claim them.
    `invalid`: a message was larger than MAX_FRAME_BYTES and was not sent. `wanted`: the frame size that is needed (see
    `image_size`), None if it was not asked for or not answered.
    """

    pushed: bool
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    frames: int = 0
    invalid: InvalidReason | None = None
    wanted: int | None = None


@dataclass(slots=True)
class PushLease:
    """The right to push a leased stream, shared by the producers of all its types.

    `epoch` is the lease's; a new one may be set at any time. `offset` is added to each frame's seq, so that numbers
    continue those of the worker before. `fenced_by` is the newer epoch that the queue has told of, or its own if Redis
    has lost what the lease had pushed: nothing is pushed until `epoch` is higher.
    """

    epoch: int
    offset: int = 0
    fenced_by: int = 0

    @property
    def fenced(self) -> bool:
        """Whether another worker has pushed the stream since, or may have."""
        return self.fenced_by >= self.epoch

    def continue_after(self, reached: int, seq: int) -> None:
        """The frame that the source numbers `seq` comes after `reached`."""
        self.offset = max(self.offset, reached + 1 - seq)


@dataclass(slots=True)
class PushRequest:
    """`count` commands, the last of which, `enter`, is the script; `frame_keys` are those that the others SET.

    `lease` holds the script's arguments about the lease.
    """

    pieces: list[Any]
    count: int
    frame_keys: list[bytes]
    messages: Sequence[Message]
    enter: bytes
    lease: tuple[int, ...] = ()


class PushPacker:
    """Packs the pushes of one stream into one type; what never changes is packed once."""

    def __init__(self, infer_type: str, name: str, rules: config.QueueRules, *, leased: bool = False) -> None:
        """With `leased`, the script checks the lease: it takes five more arguments."""
        self.identity = secrets.token_hex(5)
        self._id_start = self.identity.encode() + b"-"
        self._count = 0
        self._frame_prefix = keys.frame(infer_type, name, "").encode()
        life_ms = int((rules.max_frame_age_s + FRAME_LIFE_EXTRA_S) * 1000)
        # `SET key message PX life` of each frame …
        self._set_begin = head(5) + arguments("SET")
        self._set_end = b"\r\n" + arguments("PX", life_ms)
        # … and the script with its arguments; those of the frames follow.
        fence = [keys.push_epoch(infer_type, name)] if leased else []
        enter: tuple[str | int, ...] = (
            *("EVALSHA", script("fenced_push" if leased else "push").sha, 3 + len(fence)),
            *(keys.tokens(infer_type), keys.waiting(infer_type, name), keys.dropped(infer_type), *fence),
            *(keys.queue_prefix(infer_type), name, rules.stream_queue_depth, rules.token_limit),
        )
        self._enter_count = len(enter)
        self._enter = arguments(*enter)

    def pack(self, messages: Sequence[Message], lease: tuple[int, ...] = (), *, asks: bool = False) -> PushRequest:
        """The push of these messages; `lease` are the arguments that follow those of the frames.

        With `asks`, the answer also says which frame size is needed.
        """
        ids = [b"%b%x" % (self._id_start, number) for number in range(self._count, self._count + len(messages))]
        self._count += len(messages)
        pieces: list[Any] = []
        frame_keys = []
        entries = [head(self._enter_count + len(messages) + asks + len(lease)), self._enter]
        end = b""
        for (start, image), frame_id in zip(messages, ids, strict=True):
            key = self._frame_prefix + frame_id
            frame_keys.append(key)
            size = len(start) + len(image)
            pieces.append(b"%b%b$%d\r\n%b\r\n$%d\r\n%b" % (end, self._set_begin, len(key), key, size, start))
            pieces.append(image)
            end = self._set_end
            entry = b"%d %b" % (size, frame_id)
            entries.append(b"$%d\r\n%b\r\n" % (len(entry), entry))
        if asks:
            entries += _ASK
        if lease:
            entries.append(arguments(*lease))
        enter = b"".join(entries)
        pieces.append(end + enter)
        return PushRequest(pieces, len(messages) + 1, frame_keys, messages, enter, lease)
