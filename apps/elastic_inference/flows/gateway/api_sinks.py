"""The handlers of `/api/sinks`: where events are delivered to, for admins of all cameras. Registered in `routes`."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.exceptions import RedisError

from elastic_inference.adapters.outbox.sink_store import MAX_LISTED
from elastic_inference.domain.rest import document_json
from elastic_inference.domain.role import Role
from elastic_inference.domain.sink_documents import SinkView
from elastic_inference.flows.gateway.handlers import ApiError, BaseHandler
from elastic_inference.flows.gateway.redis_refusal import words_of
from elastic_inference.flows.gateway.sink_editor import SinkRefusal

T = TypeVar("T")
_ETAG = re.compile(r'"([0-9a-f]{16})"')
_ENTRY = re.compile(r"\d{1,19}-\d{1,20}")
UNAVAILABLE = "The sinks can't be read now: Redis does not answer, or its users are of an older version."


class _SinkBase(BaseHandler):
    """Base of the sink handlers: only admins of all cameras, and no changes from pages of other sites."""

    async def prepare(self) -> None:
        """Checks the role too, and the origin of a change."""
        await super().prepare()
        admin = self.access.role is Role.ADMIN and self.access.sees_all
        if not admin and self.request.method in self.allowed_methods():
            raise ApiError(403, "Only an admin of all cameras may see and change sinks.")
        if self.request.method not in ("GET", "HEAD"):
            self.check_origin()

    def body(self) -> dict[str, Any]:
        """The request's JSON object; empty without a body. Raises ApiError 400."""
        try:
            found = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ApiError(400, "Expected a JSON object.")
        return found

    async def result(self, asked: Awaitable[T]) -> T:
        """The result of a sink operation. Raises ApiError if it is refused."""
        try:
            return await asked
        except SinkRefusal as refusal:
            raise ApiError(refusal.status, str(refusal), 2.0 if refusal.status in (429, 503) else None) from None
        except (RedisError, OSError, TimeoutError) as error:
            raise ApiError(503, words_of(error, UNAVAILABLE), 2.0) from None

    def revision(self) -> str | None:
        """The revision of If-Match; None without it or for `*`, and empty, which no sink has, for any other text."""
        text = self.request.headers.get("If-Match", "*").strip()
        match = _ETAG.fullmatch(text)
        return None if text == "*" else match[1] if match else ""

    async def answer_sink(self, sink: SinkView) -> None:
        """Responds with a sink and its revision."""
        self.set_header("Etag", f'"{sink.revision}"')
        await self.answer(sink)

    async def answer(self, document: object) -> None:
        """Responds with a document."""
        self.set_header("Content-Type", "application/json")
        await self.send(document_json(document), own=True)


class SinksHandler(_SinkBase):
    """`/api/sinks`."""

    async def get(self) -> None:
        """Responds with all sinks."""
        await self.answer(await self.result(self.gateway.parts.sinks.sinks()))

    head = get


class SinkHandler(_SinkBase):
    """`/api/sinks/<name>`."""

    async def get(self, name: str) -> None:
        """Responds with one sink."""
        await self.answer_sink(await self.result(self.gateway.parts.sinks.sink(name)))

    head = get

    async def put(self, name: str) -> None:
        """Adds or replaces a sink."""
        await self.answer_sink(await self.result(self.gateway.parts.sinks.put(name, self.body(), self.revision())))

    async def delete(self, name: str) -> None:
        """Removes a sink."""
        await self.result(self.gateway.parts.sinks.delete(name, self.revision()))
        self.set_status(204)
        self.clear_header("Content-Type")
        self.finish()


class SinkTestHandler(_SinkBase):
    """`/api/sinks/<name>/test`."""

    async def post(self, name: str) -> None:
        """Sends a test event."""
        await self.answer(await self.result(self.gateway.parts.sinks.test(name)))


class DeadLettersHandler(_SinkBase):
    """`/api/sinks/<name>/dead`."""

    async def get(self, name: str) -> None:
        """Responds with the oldest dead letters."""
        await self.answer(await self.result(self.gateway.parts.sinks.dead_letters(name)))

    head = get

    async def delete(self, name: str) -> None:
        """Deletes dead letters: those of `id`, or all."""
        ids = self.get_query_arguments("id")
        if len(ids) > MAX_LISTED or not all(_ENTRY.fullmatch(each) for each in ids):
            raise ApiError(400, f"id: expected at most {MAX_LISTED} ids of dead letters.")
        await self.answer(await self.result(self.gateway.parts.sinks.remove_dead(name, ids or None)))


class ResendHandler(_SinkBase):
    """`/api/sinks/<name>/dead/resend`."""

    async def post(self, name: str) -> None:
        """Sends dead letters again."""
        await self.answer(await self.result(self.gateway.parts.sinks.resend(name, self.body())))
