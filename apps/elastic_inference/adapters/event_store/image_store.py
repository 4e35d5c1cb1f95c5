"""An event worker's side of the images of events: asks pods for them, and keeps them within a bound. Synchronous.

All keys are `{snapshots}:…`. What Redis returns is input from outside; a refusal is an answer, not an error.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import NoPermissionError, NoScriptError, OutOfMemoryError, ResponseError

from elastic_inference.adapters.redis_input import is_wrong_type, read_count
from elastic_inference.adapters.redis_spread import open_link
from elastic_inference.adapters.stream_broker.frame_requests import (
    KEPT,
    LATE,
    MEMORY,
    FrameRequest,
    is_image,
    write_request,
)
from elastic_inference.domain import keys
from elastic_inference.domain.events.images import ImageRequest
from elastic_inference.domain.events.missing import Missing

PENDING = "?"
# Lifetimes: of an image in transfer, of a request to a pod that has ended, and of a reason.
PENDING_LIFE_S = 30
REQUEST_LIFE_S = 10
REASON_LIFE_S = 600
MAX_IMAGE_BYTES = 16 * 1024 * 1024
_MAX_ANSWER_BYTES = 512
_WORDS = {KEPT: None, LATE: Missing.LATE, MEMORY: Missing.MEMORY}


@dataclass(frozen=True, slots=True)
class KeptImage:
    """The outcome of keeping an image; `reason` says why it is missing."""

    reason: Missing | None
    removed: int = 0
    total_bytes: int | None = None


class ImageStore:
    """One worker's images; not thread-safe. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, client: redis.Redis, worker: str, *, limit_bytes: int, life_s: float) -> None:
        """All event workers together keep at most `limit_bytes`, for `life_s` at most."""
        self._link = open_link(client)
        self._worker = worker
        self._answers_key = keys.snapshot_answers(worker)
        self._limit_bytes = limit_bytes
        self._life_s = int(life_s)

    def ask(self, requests: Sequence[ImageRequest]) -> list[Missing | None]:
        """Asks the pods. Returns one entry per request: None, or why it could not be sent."""
        commands: list[tuple[Any, ...]] = []
        for each in requests:
            key = keys.snapshot_requests(each.pod)
            wanted = FrameRequest(each.order, each.stream, each.image, self._worker)
            commands += [("RPUSH", key, write_request(wanted)), ("EXPIRE", key, REQUEST_LIFE_S)]
            commands.append(("SET", keys.snapshot_state(each.image), PENDING, "EX", PENDING_LIFE_S))
        replies = self._link.exchange(commands) if commands else []
        return [_refusal(reply) for reply in replies[::3]]

    def answers(self, count: int) -> list[tuple[str, Missing | None]]:
        """The pods' answers: (image, why it is missing). Malformed answers are left out."""
        (reply,) = self._link.exchange([("LPOP", self._answers_key, count)])
        if is_wrong_type(reply):  # otherwise no answer would arrive any more
            self._link.exchange([("UNLINK", self._answers_key)])
        rows = reply if isinstance(reply, list) else ()
        return [found for raw in rows if (found := read_answer(raw)) is not None]

    def keep(self, image: str) -> KeptImage:
        """Keeps an image that a pod has written, and removes the oldest beyond the limit."""
        sha, text = _script()
        keys_of = (keys.snapshot_image(image), keys.SNAPSHOT_INDEX, keys.SNAPSHOT_BYTES)
        command = ("EVALSHA", sha, 3, *keys_of, image, MAX_IMAGE_BYTES, self._limit_bytes, self._life_s)
        gone = ("UNLINK", keys.snapshot_state(image))
        reply = self._link.exchange([command, gone])[0]
        if isinstance(reply, NoScriptError):
            reply = self._link.exchange([("SCRIPT", "LOAD", text), command, gone])[1]
        if isinstance(reply, ResponseError):
            return KeptImage(_refusal(reply))
        size, removed, total = (read_count(each) for each in reply)
        return KeptImage(None if size else Missing.INVALID, removed, total)

    def miss(self, missing: Collection[tuple[str, Missing]]) -> None:
        """Stores why these images are missing, for clients that ask for them."""
        commands = [("SET", keys.snapshot_state(image), str(reason), "EX", REASON_LIFE_S) for image, reason in missing]
        if commands:
            self._link.exchange(commands)

    def close(self) -> None:
        """Closes the connection."""
        self._link.close()


def read_answer(raw: object) -> tuple[str, Missing | None] | None:
    """Parses a pod's answer: (image, why it is missing); None for anything else."""
    text = raw.decode("latin-1") if isinstance(raw, bytes) and len(raw) <= _MAX_ANSWER_BYTES else ""
    image, _, word = text.rpartition(" ")
    return (image, _WORDS[word]) if word in _WORDS and is_image(image) else None


def _refusal(reply: object) -> Missing | None:
    """Why Redis refused a command; None if it did not."""
    if isinstance(reply, OutOfMemoryError):
        return Missing.MEMORY
    if isinstance(reply, NoPermissionError):
        return Missing.RIGHTS
    return Missing.REDIS if isinstance(reply, ResponseError) else None


@functools.cache
def _script() -> tuple[str, str]:
    text = (Path(__file__).parent / "keep.lua").read_text()
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), text
