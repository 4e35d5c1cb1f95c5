"""Legacy frames as a pod pops them: whole messages that producers `RPUSH` into `queue_<type>`.

Called by `QueueConsumer`. A pop asks for the list's length in the exchange that it makes anyway, so an installation
without legacy frames pays for one `LLEN`. Why they keep a queue of their own: `doc/adr/0013-legacy-frames.md`.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from redis.exceptions import ResponseError

from elastic_inference.adapters.frame_queue.pop_batch import (
    MAX_POP_BYTES,
    ORDER_LIFE_MS,
    InvalidFrame,
    PopBatch,
    PoppedFrame,
)
from elastic_inference.adapters.frame_queue.scripts import run_script, script
from elastic_inference.adapters.redis_pipeline import PipelineConnection, arguments, head
from elastic_inference.base import config
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason, InvalidFrameError
from elastic_inference.domain.frame import Frame


class LegacyQueue:
    """A `PodQueue`. The list holds at most QUEUE_DEPTH frames and `legacy_bytes`; a pop drops the oldest."""

    def __init__(self, link: PipelineConnection, infer_type: str, rules: config.QueueRules) -> None:
        self.key = keys.legacy_queue(infer_type)
        self.waiting = 0
        # Whether the last pop had a turn for legacy frames, but no bytes left for one.
        self.passed_over = False
        self._link = link
        self._type = infer_type
        self._account = keys.legacy_account(infer_type)
        self._rules = rules
        self._messages: list[bytes] = []
        # When the oldest of them was asked for.
        self._taken_s = 0.0
        # Messages taken from the list since the last report. The janitor derives the frames' age from these reports.
        self._removed = 0
        self._reported = 0
        self._confirmed = 0
        self._look = head(2) + arguments("LLEN", self.key)
        self._recent_maximum = 0

    @property
    def in_hand(self) -> int:
        return len(self._messages)

    @property
    def uncounted(self) -> int:
        """Messages taken from the list that the fair queue's script, run before this queue's, could not count yet."""
        return self._confirmed + self._removed

    def keep(self, value: bytes, taken_s: float) -> None:
        self._note_time(taken_s)
        self._messages.append(value)
        self._removed += 1

    def request(self, wanted: int) -> tuple[bytes, int]:
        """Asks for the list's length only: how many messages fit is known once the fair frames are here."""
        self._reported, self._confirmed = self._removed, 0
        if not self._removed:
            return self._look, 1
        command = self._bound_command()
        return head(len(command)) + arguments(*command), 1

    def accept(self, replies: list[Any], batch: PopBatch, room: int) -> list[str]:
        self._read_length(replies[0], batch)
        self.passed_over = False
        if not self.waiting and not self._messages:
            return []
        self._fetch(batch, room)
        return self._add(batch, min(room, len(self._messages)))

    def put_back(self) -> None:
        if self._messages:
            self._one("LPUSH", self.key, *reversed(self._messages))
            self._messages = []

    def _bound_command(self) -> tuple[str | int, ...]:
        """The script that trims the list, reports what was removed, and deletes a key of the wrong type."""
        rules = self._rules
        return (
            *("EVALSHA", script("legacy").sha, 3, self.key, self._account, keys.flow(self._type)),
            *(rules.queue_depth, self._reported, rules.legacy_bytes),
        )

    def _read_length(self, reply: Any, batch: PopBatch) -> None:
        if isinstance(reply, ResponseError) or (isinstance(reply, int) and reply > self._rules.queue_depth):
            reply = run_script(self._link, self._bound_command())
        if isinstance(reply, list):
            reply, dropped = reply
            self._removed -= self._reported
            self._confirmed += self._reported
            self._reported = 0
            if dropped:
                batch.dropped[DropReason.QUEUE_FULL] += dropped
        self.waiting = reply

    def _fetch(self, batch: PopBatch, room: int) -> None:
        """Takes messages from the list, as many as the pop's frames and bytes allow beside those in hand."""
        size = batch.size + sum(map(len, self._messages))
        # Redis does not report the sizes of a list's elements: assume the recent maximum, or the worst.
        fits = max(0, MAX_POP_BYTES - size) // (self._recent_maximum or MAX_POP_BYTES)
        if size == 0:
            fits = max(1, fits)
        count = min(room - len(self._messages), self.waiting)
        self.passed_over = count > 0 and fits == 0 and not self._messages
        count = min(count, fits)
        if count > 0:
            self._note_time(time.monotonic())
            got = self._one("LPOP", self.key, count) or []
            self._removed += len(got)
            self.waiting = max(0, self.waiting - len(got))
            self._messages += got

    def _add(self, batch: PopBatch, count: int) -> list[str]:
        """Moves the first `count` messages in hand into the batch. If numbering fails, the valid ones stay in hand."""
        if count <= 0:
            return []
        # A process that is stopped meanwhile reads the reply late, and these frames carry no time of their own.
        popped = self._taken_s
        self._recent_maximum = max(*map(len, self._messages[:count]), int(self._recent_maximum * 0.9), 1)
        frames: list[Frame] = []
        good, names = [], []
        for message in self._messages[:count]:
            frame = batch.unpack(message, self._type, self._rules)
            if isinstance(frame, InvalidFrameError):
                batch.invalid.append(InvalidFrame("", frame))
                names.append("")
            else:
                frames.append(frame)
                good.append(message)
                names.append(frame.name)
        self._messages[:count] = good
        if frames:
            order = self._number(frames)
            del self._messages[: len(good)]
            for frame in frames:
                batch.frames.append(PoppedFrame(frame, order[frame.name], 0.0, popped))
                order[frame.name] += 1
        return names

    def _note_time(self, now_s: float) -> None:
        if not self._messages:
            self._taken_s = now_s

    def _number(self, frames: list[Frame]) -> dict[str, int]:
        """The first number of each stream among the frames; the others follow."""
        counts = Counter(frame.name for frame in frames)
        last = run_script(
            self._link,
            (
                *("EVALSHA", script("order").sha, len(counts)),
                *(keys.order(self._type, name) for name in counts),
                *(ORDER_LIFE_MS, *counts.values()),
            ),
        )
        return {name: number - counts[name] + 1 for name, number in zip(counts, last, strict=True)}

    def _one(self, *command: Any) -> Any:
        (reply,) = self._link.exchange([command])
        if isinstance(reply, ResponseError):
            raise reply
        return reply
