"""The handlers of `/api/sinks`: where events are delivered to, for admins of all cameras. Registered in `routes`."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.exceptions import RedisError

from elastic_inference.domain.rest import Role, document_json
from elastic_inference.flows.gateway.handlers import ApiError, BaseHandler
from elastic_inference.flows.gateway.sink_editor import SinkRefusal

T = TypeVar("T")
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
        except (RedisError, OSError, TimeoutError):
            raise ApiError(503, UNAVAILABLE, 2.0) from None

    async def answer(self, document: object) -> None:
        """Responds with a document."""
        self.set_header("Content-Type", "application/json")
        await self.send(document_json(document), own=True)


class SinksHandler(_SinkBase):
    """`/api/sinks`."""

    async def get(self) -> None:
        """Responds with all sinks."""
        await self.answer(await self.result(self.gateway.sinks.sinks()))

    head = get


class SinkHandler(_SinkBase):
    """`/api/sinks/<name>`."""

    async def get(self, name: str) -> None:
        """Responds with one sink."""
        await self.answer(await self.result(self.gateway.sinks.sink(name)))

    head = get

    async def put(self, name: str) -> None:
        """Adds or replaces a sink."""
        await self.answer(await self.result(self.gateway.sinks.put(name, self.body())))

    async def delete(self, name: str) -> None:
        """Removes a sink."""
        await self.result(self.gateway.sinks.delete(name))
        self.set_status(204)
        self.clear_header("Content-Type")
        self.finish()


class SinkTestHandler(_SinkBase):
    """`/api/sinks/<name>/test`."""

    async def post(self, name: str) -> None:
        """Sends a test event."""
        await self.answer(await self.result(self.gateway.sinks.test(name)))


class DeadLettersHandler(_SinkBase):
    """`/api/sinks/<name>/dead`."""

    async def get(self, name: str) -> None:
        """Responds with the oldest dead letters."""
        await self.answer(await self.result(self.gateway.sinks.dead_letters(name)))

    head = get


class ResendHandler(_SinkBase):
    """`/api/sinks/<name>/dead/resend`."""

    async def post(self, name: str) -> None:
        """Sends dead letters again."""
        await self.answer(await self.result(self.gateway.sinks.resend(name, self.body())))
