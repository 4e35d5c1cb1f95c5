"""The result of one pop, and the interface of the two queues that a pod pops from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from elastic_inference.base import config
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidFrameError
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import unpack_frame
from elastic_inference.domain.sequence import Tombstone

MAX_POP_BYTES = 4 * 1024 * 1024
ORDER_LIFE_MS = 60_000


@dataclass(frozen=True, slots=True)
class PoppedFrame:
    """A frame that a pod has popped.

    `order` rises by one per frame of the stream. `queue_ms` is the time from arrival to pop by the Redis clock; it is
    0 for a legacy frame, which carries no time of arrival. `popped_monotonic` is the pod's `time.monotonic()` at the
    pop.
    """

    frame: Frame
    order: int
    queue_ms: float
    popped_monotonic: float


@dataclass(frozen=True, slots=True)
class InvalidFrame:
    """A popped message that is not a usable frame.

    `stream` is the stream's name, empty if the message does not contain it. `order` is the frame's number, None if it
    has none; a numbered frame is also among the batch's tombstones.
    """

    stream: str
    error: InvalidFrameError
    order: int | None = None


@dataclass(slots=True)
class PopBatch:
    """The result of one pop.

    `frames` are in order. `dropped` are drops at the queue that this pod has claimed and must count. `tombstones` are
    all numbered frames of this pop that cannot be used. `waiting` is how many frames remain in Redis, and `size` the
    bytes of the messages popped. `totals` are frames popped and drops claimed by all pods of the type, counted from
    some time on; None if they are not known.
    """

    frames: list[PoppedFrame] = field(default_factory=list)
    dropped: Counter[DropReason] = field(default_factory=Counter)
    waiting: int = 0
    invalid: list[InvalidFrame] = field(default_factory=list)
    tombstones: list[Tombstone] = field(default_factory=list)
    size: int = 0
    totals: tuple[int, int] | None = None

    def unpack(self, message: bytes, infer_type: str, rules: config.QueueRules) -> Frame | InvalidFrameError:
        """The frame in `message`, or why there is none."""
        self.size += len(message)
        try:
            return unpack_frame(message, infer_type, max_bytes=rules.max_frame_bytes, max_pixels=rules.max_frame_pixels)
        except InvalidFrameError as error:
            return error

    def add_tombstone(self, name: str, infer_type: str, order: int, reason: str) -> None:
        """Records that frame `order` of the stream `name` has no result."""
        self.tombstones.append(Tombstone(keys.stream_id(name, infer_type), order, reason))


class PodQueue(Protocol):
    """One of the two queues that a pod pops from, fair or legacy.

    A pop sends the requests of both in one exchange and gives each its part of the replies.
    """

    @property
    def key(self) -> str:
        """The list that a pod blocks on while there are no frames."""

    @property
    def waiting(self) -> int:
        """Frames that remained in Redis after the last pop."""

    @property
    def in_hand(self) -> int:
        """Values taken from `key` that have not become part of a batch yet; they survive an error."""

    def keep(self, value: bytes, taken_s: float) -> None:
        """`value` is what a BLPOP on `key` returned, by this monotonic time: the next pop uses it first."""

    def request(self, wanted: int) -> tuple[bytes, int]:
        """What to send for `wanted` frames, in Redis' protocol, and the number of replies."""

    def accept(self, replies: list[Any], batch: PopBatch, room: int) -> list[str]:
        """Adds at most `room` frames to the batch; returns the stream's name for each message used ('' if it has none).

        Raises REDIS_ERRORS and ResponseError; what the batch holds by then stays valid.
        """

    def put_back(self) -> None:
        """Returns what is in hand to Redis, ahead of all others."""
