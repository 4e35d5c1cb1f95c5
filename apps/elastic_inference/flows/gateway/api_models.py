"""The handlers of `/api/types/<type>`: which model its pods run, for admins of all cameras. Registered in `routes`."""

from __future__ import annotations

import re
from collections.abc import Awaitable

from redis.exceptions import RedisError

from elastic_inference.domain.model_views import TypeModel
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.handlers import ApiError, BaseHandler
from elastic_inference.flows.gateway.model_editor import ModelRefusal
from elastic_inference.flows.gateway.redis_refusal import words_of

_ETAG = re.compile(r'"([0-9a-f]{16})"')
UNAVAILABLE = "The models can't be read or changed now: Redis does not answer, or its users are of an older version."


class _ModelBase(BaseHandler):
    """Only admins of all cameras, and no changes from pages of other sites."""

    async def prepare(self) -> None:
        """Checks the role too, and the origin of a change."""
        await super().prepare()
        admin = self.access.role is Role.ADMIN and self.access.sees_all
        if not admin and self.request.method in self.allowed_methods():
            raise ApiError(403, "Only an admin of all cameras may see and change models.")
        if self.request.method not in ("GET", "HEAD"):
            self.check_origin()

    def revision(self) -> str | None:
        """The revision of If-Match; None without it or for `*`, and empty, which no type has, for any other text."""
        text = self.request.headers.get("If-Match", "*").strip()
        match = _ETAG.fullmatch(text)
        return None if text == "*" else match[1] if match else ""

    async def respond(self, asked: Awaitable[tuple[TypeModel, str]]) -> None:
        """Responds with what came of a request, and its revision. Raises ApiError if it is refused."""
        try:
            document, revision = await asked
        except ModelRefusal as refusal:
            raise ApiError(refusal.status, str(refusal)) from None
        except (RedisError, OSError, TimeoutError) as error:
            raise ApiError(503, words_of(error, UNAVAILABLE), 2.0) from None
        self.set_header("Etag", f'"{revision}"')
        self.answer_json(document)


class ModelHandler(_ModelBase):
    """`/api/types/<type>/model`."""

    async def get(self, infer_type: str) -> None:
        """Responds with the type's model, wished and real."""
        await self.respond(self.gateway.parts.models.model(infer_type))

    head = get

    async def put(self, infer_type: str) -> None:
        """Changes the model."""
        await self.respond(self.gateway.parts.models.choose(infer_type, self.request.body, self.revision()))

    async def delete(self, infer_type: str) -> None:
        """Goes back to the model of the settings."""
        await self.respond(self.gateway.parts.models.reset(infer_type, self.revision()))


class CanaryHandler(_ModelBase):
    """`/api/types/<type>/canary`."""

    async def put(self, infer_type: str) -> None:
        """Starts a canary, or replaces it."""
        await self.respond(self.gateway.parts.models.try_canary(infer_type, self.request.body, self.revision()))

    async def delete(self, infer_type: str) -> None:
        """Drops the canary."""
        await self.respond(self.gateway.parts.models.drop(infer_type, self.revision()))


class PromoteHandler(_ModelBase):
    """`/api/types/<type>/canary/promote`."""

    async def post(self, infer_type: str) -> None:
        """Makes the canary's model the type's."""
        await self.respond(self.gateway.parts.models.promote(infer_type, self.revision()))
