"""The handlers of the log of events and of counters. Registered in `routes`."""

from __future__ import annotations

import math
from dataclasses import replace

from redis.exceptions import RedisError

from elastic_inference.adapters.event_store.event_log import LogPosition, read_cursor
from elastic_inference.adapters.event_store.image_reader import NoImageError
from elastic_inference.domain import keys
from elastic_inference.domain.events.event import EventKind
from elastic_inference.domain.events.images import FRAME_NUMBER
from elastic_inference.flows.gateway.api import ApiHandler
from elastic_inference.flows.gateway.event_reader import Filter
from elastic_inference.flows.gateway.handlers import ApiError, BaseHandler

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
MAX_TEXT = 600
# Browsers need not ask again for an image within this time.
IMAGE_AGE_S = 3600
_WORDS = ("camera", "type", "label", "zone", "kind")
_UNAVAILABLE = "The events cannot be read now: Redis does not answer, or its users are of an older version."


class EventLogHandler(ApiHandler):
    """`/api/events/log`."""

    async def document(self, *_args: str) -> object:
        wanted = Filter(
            **{name: self._text(name) for name in _WORDS},
            since=self._number("since", 0.0),
            until=self._number("until", math.inf),
        )
        if wanted.kind is not None and wanted.kind not in set(EventKind):
            raise ApiError(400, f"kind: expected one of {', '.join(EventKind)}.")
        limit = self._number("limit", DEFAULT_LIMIT)
        if not 1 <= limit <= MAX_LIMIT:
            raise ApiError(400, f"limit: expected a number from 1 to {MAX_LIMIT}.")
        try:
            found = await self.gateway.parts.events.page(self.access, wanted, int(limit), self._cursor())
        except (RedisError, OSError, TimeoutError):
            raise ApiError(503, _UNAVAILABLE, 2) from None
        return replace(found, events=await self.gateway.parts.images.checked(found.events))

    def _cursor(self) -> LogPosition | None:
        text = self._text("cursor")
        position = read_cursor(text) if text else None
        if text and position is None:
            raise ApiError(400, "cursor: expected `next` of an earlier page.")
        return position

    def _text(self, name: str) -> str | None:
        found = self.get_query_argument(name, None)
        if found is not None and len(found) > MAX_TEXT:
            raise ApiError(400, f"{name}: expected at most {MAX_TEXT} characters.")
        return found or None

    def _number(self, name: str, default: float) -> float:
        text = self._text(name)
        if text is None:
            return default
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and 0 <= number <= 1e15):
            raise ApiError(400, f"{name}: expected a number from 0 to 1e15.")
        return number


class EventHandler(ApiHandler):
    """`/api/events/<id>`."""

    async def document(self, *args: str) -> object:
        event_id = args[0]
        if len(event_id) > MAX_TEXT:
            raise ApiError(404, "There is no such event.")
        try:
            found = await self.gateway.parts.events.event(self.access, event_id)
        except (RedisError, OSError, TimeoutError):
            raise ApiError(503, _UNAVAILABLE, 2) from None
        if found is None:
            raise ApiError(404, f"There is no event {event_id[:300]!r}, or it is too old.")
        return (await self.gateway.parts.images.checked((found,)))[0]


class CountsHandler(ApiHandler):
    """`/api/cameras/<name>/counts`."""

    async def document(self, *args: str) -> object:
        camera = args[0]
        try:
            found = await self.gateway.parts.events.counts(self.access, camera) if keys.is_name(camera) else None
        except (RedisError, OSError, TimeoutError):
            raise ApiError(503, _UNAVAILABLE, 2) from None
        if found is None:
            raise ApiError(404, f"There is no camera {camera[:200]!r}.")
        return found


class EventImageHandler(BaseHandler):
    """`/api/events/<id>/snapshot`."""

    async def head(self, *args: str) -> None:
        """Like GET; Tornado leaves out the body."""
        await self.get(*args)

    async def get(self, *args: str) -> None:
        """Responds with the image as a JPEG."""
        event_id, frame = args[0][: MAX_TEXT + 1], self.get_query_argument("image", None)
        if len(event_id) > MAX_TEXT:
            raise ApiError(404, "There is no such event.")
        if frame is not None and not FRAME_NUMBER.fullmatch(frame):
            raise ApiError(400, "image: expected that of the event's `snapshot`.")
        images = self.gateway.parts.images
        try:
            found = frame or await images.best(self.access, event_id)
            jpeg = await images.read(self.access, event_id, found)
        except NoImageError as error:
            raise ApiError(404, str(error)) from None
        except (RedisError, OSError, TimeoutError):
            raise ApiError(503, _UNAVAILABLE, 2) from None
        self.set_header("Content-Type", "image/jpeg")
        # An image does not change, but a later one may be better.
        self.set_header("Cache-Control", f"private, max-age={IMAGE_AGE_S}" if frame else "private, no-cache")
        # Not for the next login in the same browser, which may not see this camera.
        self.set_header("Vary", "Authorization, Cookie")
        self.set_header("Etag", f'"{found}"')
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
            return
        await self.send(jpeg, own=True)
