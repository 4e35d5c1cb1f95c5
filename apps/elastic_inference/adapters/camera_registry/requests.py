"""Requests of the gateway to the owner of the cameras or to a source worker, and their answers: lists in Redis."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import ResponseError

from elastic_inference.adapters.camera_registry.camera_values import MAX_BYTES, read_object, text_of
from elastic_inference.domain import keys
from elastic_inference.domain.errors import ElasticInferenceError

# The sender waits this long; an older request is not carried out.
REQUEST_LIFE_S = 10.0
ANSWER_LIMIT_S = 12.0
REPLY_LIFE_S = 60
MAX_WAITING = 1000
# A body of the API has at most 16 kB; names and escape sequences add to it.
_MAX_LIST_BYTES = 32 * 1024 * 1024
# A probe's answer holds an image in base64.
MAX_REPLY_BYTES = 2 * 1024 * 1024
# The clocks of two servers may differ by this much.
_CLOCK_S = 30.0
_STATUSES = frozenset((200, 201, 204, 400, 404, 409, 412, 422, 429, 503))
_ID_CHARACTERS = 32
_TEXT_CHARACTERS = 1000
_MAX_FIELDS = 64


class NoAnswerError(ElasticInferenceError):
    """No answer came in time."""


class TooManyRequestsError(ElasticInferenceError):
    """Too many requests wait already."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client of the API asks for. `spec` is what it sent; `revision` is that of If-Match, None without one."""

    id: str
    action: str
    name: str
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False)
    revision: int | None = None
    by: str = ""
    time_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: the status that the client gets, and a document or an error with a sentence for each wrong field."""

    status: int
    document: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


class CameraRequests:
    """Sends requests. Its methods raise REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, client: aioredis.Redis, now_s: Callable[[], float] = time.time) -> None:
        """`now_s` is the clock of the queue's Redis. The caller closes the client."""
        self._client = client
        self._now_s = now_s

    async def ask(
        self,
        queue: str,
        action: str,
        name: str = "",
        spec: Mapping[str, Any] | None = None,
        *,
        revision: int | None = None,
        by: str = "",
    ) -> Reply:
        """Sends a request into the list `queue`, and returns its answer. Raises NoAnswerError, TooManyRequestsError."""
        identifier = secrets.token_hex(_ID_CHARACTERS // 2)
        document: dict[str, Any] = {"id": identifier, "action": action, "name": name, "spec": spec or {}}
        document |= {"by": by[:128], "revision": revision, "time_ms": round(self._now_s() * 1000)}
        text = json.dumps(document, separators=(",", ":")).encode()
        if len(text) > MAX_BYTES:
            raise TooManyRequestsError(f"The request is larger than {MAX_BYTES // 1024} kB.")
        if await self._client.llen(queue) >= MAX_WAITING:
            raise TooManyRequestsError("Too many changes of cameras are waiting: try again in a moment.")
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.rpush(queue, text)
            # If nobody reads them, they expire.
            pipe.pexpire(queue, REPLY_LIFE_S * 1000)
            await pipe.execute()
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while (left := deadline - time.monotonic()) > 0:
            answer: Any = await self._client.blpop([keys.camera_reply(identifier)], timeout=min(1.0, max(0.1, left)))
            if answer:
                return read_reply(answer[1])
        raise NoAnswerError("no answer")


async def take_requests(client: aioredis.Redis, wait_s: float, most: int) -> list[Any]:
    """Up to `most` unparsed requests to the owner; empty if none arrives within `wait_s`.

    Removes a list of the wrong type, or one with more bytes than a gateway writes.
    """
    try:
        first: Any = await client.blpop([keys.CAMERA_REQUESTS], timeout=wait_s)
        if not first:
            return []
        used: Any = await client.memory_usage(keys.CAMERA_REQUESTS, samples=0)
        if isinstance(used, int) and used > _MAX_LIST_BYTES:
            await client.unlink(keys.CAMERA_REQUESTS)
        more: Any = await client.lpop(keys.CAMERA_REQUESTS, most - 1)
        return [first[1], *(more or [])]
    except ResponseError as error:
        if str(error).startswith("WRONGTYPE"):
            await client.unlink(keys.CAMERA_REQUESTS)
        raise


def read_request(raw: object, now_s: float) -> Request | None:
    """A request as read from Redis; None if it is malformed, or too old for anybody to wait for its answer."""
    found = read_object(raw)
    identifier, action, name, spec = (found.get(each) for each in ("id", "action", "name", "spec"))
    revision, by, time_ms = (found.get(each) for each in ("revision", "by", "time_ms"))
    if not isinstance(identifier, str) or not keys.is_name(identifier) or len(identifier) > _ID_CHARACTERS:
        return None
    if not isinstance(action, str) or not isinstance(spec, dict):
        return None
    if not isinstance(name, str) or (name and not keys.is_name(name)):
        return None
    if not isinstance(time_ms, (int, float)) or not 0 <= time_ms <= 1e15:
        return None
    if not -_CLOCK_S < now_s - time_ms / 1000 < REQUEST_LIFE_S:
        return None
    if revision is not None and (not isinstance(revision, int) or isinstance(revision, bool)):
        return None
    return Request(identifier, action[:32], name, spec, revision, by[:128] if isinstance(by, str) else "", time_ms)


def reply_value(reply: Reply) -> bytes:
    """The value in `{cameras}:reply:<id>`."""
    if reply.status < 400:
        document: dict[str, Any] = {"status": reply.status, "document": reply.document}
    else:
        document = {"status": reply.status, "error": {"message": reply.message, "fields": reply.fields}}
    return json.dumps(document, separators=(",", ":")).encode()


def read_reply(raw: object) -> Reply:
    """An answer as read from Redis; an invalid one becomes a 503."""
    found = read_object(raw, MAX_REPLY_BYTES)
    status, document, error = (found.get(each) for each in ("status", "document", "error"))
    if status not in _STATUSES:
        return Reply(
            503,
            message="The owner of the cameras sent an invalid answer: check that it has the gateway's version.",
        )
    error = error if isinstance(error, dict) else {}
    fields = error.get("fields")
    pairs = list(fields.items())[:_MAX_FIELDS] if isinstance(fields, dict) else []
    return Reply(
        status=status,
        document=document if isinstance(document, dict) else {},
        message=text_of(str(error.get("message") or "The request was refused."), _TEXT_CHARACTERS),
        fields={text_of(name, _TEXT_CHARACTERS): text_of(str(words), _TEXT_CHARACTERS) for name, words in pairs},
    )


async def send_reply(client: aioredis.Redis, request_id: str, reply: Reply) -> None:
    """Answers a request."""
    key = keys.camera_reply(request_id)
    async with client.pipeline(transaction=True) as pipe:
        pipe.lpush(key, reply_value(reply))
        pipe.pexpire(key, REPLY_LIFE_S * 1000)
        await pipe.execute()


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Waits, at most until the stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
