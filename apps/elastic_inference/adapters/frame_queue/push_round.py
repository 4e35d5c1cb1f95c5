"""Pushes frames of many streams in one round trip. The queue accepts frames of a leased stream's newest lease only.

Called by the stream manager, from one thread for each connection, and by `producer`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.exceptions import ResponseError

from elastic_inference.adapters.frame_queue.push_request import PushLease, PushOutcome, PushRequest
from elastic_inference.adapters.frame_queue.scripts import is_missing, script
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.domain.frame import Frame

MAX_BATCH = 256
_REACHED = re.compile(r"EI_SEQ (\d{1,16})")
# The queue of each type may have reached another number.
_TRIES = 4


class Producer(Protocol):
    """What `push_many` needs of a QueueProducer."""

    connection: PipelineConnection
    lease: PushLease | None

    @property
    def pushes_legacy(self) -> bool: ...
    def push_batch(self, frames: Sequence[Frame]) -> PushOutcome: ...
    def request(self, frames: Sequence[Frame]) -> PushRequest | PushOutcome: ...
    def settle(self, frames: Sequence[Frame], request: PushRequest, reply: object) -> PushOutcome: ...


Pushes = Sequence[tuple[Producer, Sequence[Frame]]]
_Outcomes = dict[int, PushOutcome | ResponseError]


@dataclass(slots=True)
class _Try:
    """One push in a round trip."""

    producer: Producer
    request: PushRequest
    reply: object = None


def push_many(pushes: Pushes) -> list[PushOutcome | ResponseError]:
    """Pushes frames of producers that share a connection, oldest first, in round trips of at most 256 frames.

    Returns the outcome of each push: an error of one does not affect the others. Where another worker has pushed a
    leased stream before, its frames get numbers that continue, and are pushed again at once. Raises REDIS_ERRORS if
    Redis is unavailable.
    """
    outcomes: _Outcomes = {}
    first, frames = 0, 0
    for index, (_, own) in enumerate(pushes):
        if len(own) > MAX_BATCH:
            raise ValueError(f"at most {MAX_BATCH} frames of a stream can be pushed together, got {len(own)}")
        if frames + len(own) > MAX_BATCH:
            _push_some(pushes, range(first, index), outcomes)
            first, frames = index, 0
        frames += len(own)
    _push_some(pushes, range(first, len(pushes)), outcomes)
    return [outcomes[index] for index in range(len(pushes))]


class PushUnderway:
    """Pushes sent together over a shared connection, which must not be used until their answers have been read."""

    def __init__(self, pushes: Pushes, within_s: float) -> None:
        """Sends as much as possible within `within_s`. Raises REDIS_ERRORS."""
        self._pushes = pushes
        self._outcomes: _Outcomes = {}
        self._tries = _requests(pushes, range(len(pushes)), self._outcomes)
        self._rest: list[Any] = []
        if self._tries:
            self._connection = pushes[0][0].connection
            pieces, self._count = _pieces(self._tries.values())
            self._rest = self._connection.send(pieces, within_s)

    @staticmethod
    def possible(pushes: Pushes) -> bool:
        """Whether these pushes can be sent without waiting for anything else."""
        connection = pushes[0][0].connection
        return len(pushes) <= MAX_BATCH and connection.can_wait and not any(each.pushes_legacy for each, _ in pushes)

    def answered_within(self, seconds: float) -> bool:
        """Whether `finish` does not have to wait, or not for long."""
        return not self._tries or (not self._rest and self._connection.answers_within(seconds))

    def finish(self) -> list[PushOutcome | ResponseError]:
        """The outcome of each push, as `push_many` returns it. Any thread may call it. Raises REDIS_ERRORS."""
        if self._tries:
            replies = self._connection.receive(self._rest, self._count)
            _assign(self._tries.values(), replies)
            again = _settle_all(self._pushes, self._tries, self._outcomes, last=False)
            _push_some(self._pushes, again, self._outcomes, _TRIES - 1)
        return [self._outcomes[index] for index in range(len(self._pushes))]


def _push_some(pushes: Pushes, indices: Sequence[int], outcomes: _Outcomes, tries_left: int = _TRIES) -> None:
    while indices:
        tries_left -= 1
        tries = _requests(pushes, indices, outcomes)
        if not tries:
            return
        pieces, count = _pieces(tries.values())
        _assign(tries.values(), pushes[0][0].connection.exchange_packed(pieces, count))
        indices = _settle_all(pushes, tries, outcomes, last=tries_left <= 0)


def _requests(pushes: Pushes, indices: Sequence[int], outcomes: _Outcomes) -> dict[int, _Try]:
    """The requests to send; outcomes that are known without sending go into `outcomes`."""
    tries: dict[int, _Try] = {}
    for index in indices:
        producer, frames = pushes[index]
        if producer.pushes_legacy:
            outcomes[index] = _legacy(producer, frames)
            continue
        request = producer.request(frames)
        if isinstance(request, PushOutcome):
            outcomes[index] = request
        else:
            tries[index] = _Try(producer, request)
    return tries


def _pieces(tries: Collection[_Try]) -> tuple[list[Any], int]:
    """The packed commands of all requests, and their number."""
    return [piece for each in tries for piece in each.request.pieces], sum(each.request.count for each in tries)


def _assign(tries: Collection[_Try], replies: list[Any]) -> None:
    """Gives each its reply. A second round trip follows if Redis does not know the script of leased streams."""
    at = 0
    for each in tries:
        at += each.request.count
        each.reply = replies[at - 1]
    missing = [each for each in tries if each.producer.lease is not None and is_missing(each.reply)]
    if not missing:
        return
    connection = missing[0].producer.connection
    (loaded,) = connection.exchange([("SCRIPT", "LOAD", script("fenced_push").text)])
    if isinstance(loaded, ResponseError):
        for each in missing:
            each.reply = loaded
        return
    # The frames themselves are in Redis already.
    again = connection.exchange_packed([each.request.enter for each in missing], len(missing))
    for each, reply in zip(missing, again, strict=True):
        each.reply = reply


def _settle_all(pushes: Pushes, tries: dict[int, _Try], outcomes: _Outcomes, *, last: bool) -> list[int]:
    """Settles pushes; returns those to be sent again, with other numbers."""
    again = []
    for index, each in tries.items():
        frames = pushes[index][1]
        if not last and _continues(each, frames):
            again.append(index)
        else:
            outcomes[index] = _settle(each, frames)
    return again


def _continues(each: _Try, frames: Sequence[Frame]) -> bool:
    """Whether the stream has already passed these frames' numbers; the next try gives them new ones."""
    reached = _REACHED.match(str(each.reply)) if isinstance(each.reply, ResponseError) else None
    if reached is None or each.producer.lease is None:
        return False
    each.producer.lease.continue_after(int(reached[1]), frames[0].seq or 0)
    return True


def _settle(each: _Try, frames: Sequence[Frame]) -> PushOutcome | ResponseError:
    try:
        return each.producer.settle(frames, each.request, each.reply)
    except ResponseError as error:
        return error


def _legacy(producer: Producer, frames: Sequence[Frame]) -> PushOutcome | ResponseError:
    try:
        return producer.push_batch(frames)
    except ResponseError as error:
        return error
