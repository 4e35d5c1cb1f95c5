"""The frames that event workers want from a pod, and the pod's answers.

A request is `<order> <stream id> <image> <worker>`, an answer `<image> <word>`: `kept`, or why there is none. Both are
input from outside for their readers. Used by pods (threads) and, for the words, by the event store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import OutOfMemoryError, ResponseError

from elastic_inference.adapters.redis_spread import open_link
from elastic_inference.domain import keys

KEPT, LATE, MEMORY = "kept", "late", "memory"
# An image that no event worker picks up expires.
IMAGE_LIFE_S = 60
ANSWER_LIFE_S = 60
MAX_REQUEST_BYTES = 2048
WAIT_S = 1.0
_MAX_ORDER_DIGITS = 19


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """An event worker wants the frame `order` of `stream` as `image`."""

    order: int
    stream: str
    image: str
    worker: str


def write_request(request: FrameRequest) -> str:
    """Formats a request for `read_request`."""
    return f"{request.order} {request.stream} {request.image} {request.worker}"


def read_request(raw: object) -> FrameRequest | None:
    """Parses a request; None for anything else."""
    if not isinstance(raw, bytes) or len(raw) > MAX_REQUEST_BYTES:
        return None
    parts = raw.decode("latin-1").split(" ")
    if len(parts) != 4:
        return None
    order, stream, image, worker = parts
    if not (order.isascii() and order.isdigit() and len(order) <= _MAX_ORDER_DIGITS and keys.is_name(worker)):
        return None
    if keys.split_stream_id(stream) is None or not is_image(image):
        return None
    return FrameRequest(int(order), stream, image, worker)


def is_image(text: str) -> bool:
    """Whether `text` is `<stream id>/<epoch>-<order>`."""
    stream, slash, number = text.partition("/")
    epoch, dash, order = number.partition("-")
    numbers = all(each.isascii() and each.isdigit() and len(each) <= _MAX_ORDER_DIGITS for each in (epoch, order))
    return bool(slash and dash) and numbers and keys.split_stream_id(stream) is not None


class FrameRequests:
    """A pod's side. Not thread-safe. Methods raise REDIS_ERRORS when Redis is unavailable, else ResponseError."""

    def __init__(self, client: redis.Redis, pod: str) -> None:
        self._link = open_link(client)
        self._key = keys.snapshot_requests(pod)

    def wait(self) -> FrameRequest | None:
        """The next request; None if none arrives within WAIT_S, or if it is malformed."""
        (reply,) = self._link.exchange([("BLPOP", self._key, int(WAIT_S))])
        if isinstance(reply, ResponseError):
            raise reply
        return read_request(reply[1]) if isinstance(reply, list) and len(reply) == 2 else None

    def answer(self, request: FrameRequest, jpeg: bytes | None) -> str:
        """Writes the image, if there is one, and answers; returns the word of the answer."""
        word = LATE
        if jpeg is not None:
            (reply,) = self._link.exchange([("SET", keys.snapshot_image(request.image), jpeg, "EX", IMAGE_LIFE_S)])
            if isinstance(reply, ResponseError) and not isinstance(reply, OutOfMemoryError):
                raise reply
            word = MEMORY if isinstance(reply, ResponseError) else KEPT
        key = keys.snapshot_answers(request.worker)
        commands: list[tuple[Any, ...]] = [("RPUSH", key, f"{request.image} {word}"), ("EXPIRE", key, ANSWER_LIFE_S)]
        reply = self._link.exchange(commands)[0]
        if isinstance(reply, ResponseError) and not isinstance(reply, OutOfMemoryError):
            raise reply
        return word

    def close(self) -> None:
        """Closes the connection."""
        self._link.close()
