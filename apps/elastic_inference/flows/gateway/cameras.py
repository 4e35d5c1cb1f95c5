"""The cameras of the pool: read from the registry, shared by all clients, and changed by requests to their owner.

Called by the handlers of `/api/cameras` and by the event hub. Nothing is read while no client asks.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import redis.asyncio as aioredis
from pydantic import TypeAdapter, ValidationError
from redis.exceptions import AuthorizationError, NoPermissionError, OutOfMemoryError, RedisError

from elastic_inference.adapters.camera_registry.camera_values import read_spec
from elastic_inference.adapters.camera_registry.listing import CameraListing, CameraRecords
from elastic_inference.adapters.camera_registry.requests import (
    CameraRequests,
    NoAnswerError,
    Reply,
    TooManyRequestsError,
)
from elastic_inference.adapters.camera_registry.state import NO_WORKER
from elastic_inference.base.log import Throttle
from elastic_inference.domain import keys
from elastic_inference.domain.camera_documents import Camera, CameraProbe, Cameras
from elastic_inference.domain.camera_errors import CameraRefusal
from elastic_inference.flows.gateway.access import Access
from elastic_inference.flows.gateway.camera_state import NO_OWNER, camera_document, cameras_document
from elastic_inference.flows.gateway.login_places import LoginPlaces
from elastic_inference.flows.gateway.redis_refusal import words_of

log = logging.getLogger(__name__)

FRESH_S = 0.5
READ_LIMIT_S = 3.0
# If the Redis user lacks the rights, the next attempt is made after this long.
_FORBIDDEN_S = 10.0
# Maximum number of concurrent changes and probes; each takes a connection to Redis. Further changes wait.
_MAX_CHANGES = 32
_MAX_WAITING = 512
MAX_PROBES = 4
NO_RIGHTS = (
    "The gateway's Redis user may not read the cameras of the pool: give the gateway the user `gateway` "
    "(doc/security.md)."
)
_UNAVAILABLE = "Redis is unavailable: try again in a moment."
_NO_PROBE = (
    "Source workers are running, but none of them has answered in time: try again in a moment. If it stays so, see "
    "their logs."
)
_PROBE: TypeAdapter[CameraProbe] = TypeAdapter(CameraProbe)


@contextmanager
def _taken(places: LoginPlaces, access: Access, message: str) -> Iterator[None]:
    """Occupies one place, or raises CameraRefusal 429."""
    if not places.take(access):
        raise CameraRefusal(429, message)
    try:
        yield
    finally:
        places.give_back(access)


class PoolCameras:
    """The cameras of the pool; one object per gateway, on its event loop. Refused requests raise CameraRefusal."""

    def __init__(
        self,
        client: aioredis.Redis,
        now_s: Callable[[], float],
        explain: Callable[[Exception], str],
        served: Callable[[], Awaitable[frozenset[str] | None]] | None = None,
    ) -> None:
        """`client` is one of the queue's Redis, opened with a key of `{cameras}`; the caller closes it.

        `now_s` is the clock of that Redis. `explain` turns a Redis error into one line. `served`
        returns the inference types that have a pod, None if that is unknown.
        """
        self._listing = CameraListing(client)
        self._requests = CameraRequests(client, now_s)
        self._explain = explain
        self._served = served
        self._records = CameraRecords()
        self._read_at = float("-inf")
        self._refused: CameraRefusal | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changes = asyncio.Semaphore(_MAX_CHANGES)
        self._waiting = LoginPlaces(_MAX_WAITING)
        self._probes = LoginPlaces(MAX_PROBES)
        self._throttle = Throttle()

    async def cameras(self, access: Access) -> Cameras:
        """All cameras that `access` sees, at most half a second old."""
        await self._refresh()
        return cameras_document(self._records, access)

    async def camera(self, name: str, access: Access) -> Camera:
        """One of them."""
        await self._refresh()
        found = self._records.cameras.get(name) if access.sees(name) else None
        if found is None:
            raise _no_camera(name)
        return camera_document(name, found, self._records)

    async def change(
        self, action: str, name: str, spec: Mapping[str, Any], access: Access, revision: int | None = None
    ) -> tuple[int, Camera | None]:
        """Makes a change. Returns (HTTP status, the changed camera) once the owner has made it durable."""
        if not access.sees(name):
            if action == "create":
                raise CameraRefusal(403, f"This token sees only cameras named {', '.join(access.cameras)[:200]}.")
            raise _no_camera(name)
        await self._refresh()
        if not self._records.owned:
            raise CameraRefusal(503, NO_OWNER)
        ask = partial(self._requests.ask, keys.CAMERA_REQUESTS, action, name, spec)
        with _taken(self._waiting, access, "Too many changes of cameras are waiting: try again in a moment."):
            reply = await self._ask(partial(ask, revision=revision, by=access.name or ""), NO_OWNER)
        # The next reader must see the change.
        self._read_at = float("-inf")
        camera = read_spec(name, _json(reply.document)) if reply.document else None
        return reply.status, camera_document(name, camera, self._records) if camera else None

    async def probe(self, request: Mapping[str, Any], access: Access) -> CameraProbe:
        """Has a source worker probe a camera; returns its answer."""
        name = str(request.get("name") or "")
        if name and not access.sees(name):
            raise _no_camera(name)
        await self._refresh()
        if not self._records.workers:
            raise CameraRefusal(503, NO_WORKER)
        ask = partial(self._requests.ask, keys.CAMERA_PROBES, "probe", name, request, by=access.name or "")
        with _taken(self._probes, access, "Too many cameras are being probed: try again in a moment."):
            reply = await self._ask(ask, _NO_PROBE)
        try:
            return _PROBE.validate_json(_json(reply.document))
        except ValidationError:
            raise CameraRefusal(
                503, "The source worker sent an invalid answer: check that it has the gateway's version."
            ) from None

    async def _ask(self, ask: Callable[[], Awaitable[Reply]], nobody: str) -> Reply:
        """Sends a request and returns the answer; `nobody` is the error message if none arrives."""
        try:
            async with self._changes:
                reply = await ask()
        except NoAnswerError:
            raise CameraRefusal(503, nobody) from None
        except TooManyRequestsError as error:
            raise CameraRefusal(429, str(error)) from None
        except (RedisError, OSError) as error:
            raise self._refusal(error) from None
        if reply.status >= 400:
            raise CameraRefusal(reply.status, reply.message, reply.fields)
        return reply

    async def _refresh(self) -> None:
        """Raises CameraRefusal 503 if the registry can't be read."""
        if time.monotonic() - self._read_at >= (_FORBIDDEN_S if self._is_forbidden() else FRESH_S):
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            # Shielded, since a client that leaves must not cancel the reading for the others.
            await asyncio.shield(self._reading)
        if self._refused is not None:
            raise self._refused

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                records = await self._listing.read()
            self._records = replace(records, served=await self._served()) if self._served else records
            self._refused = None
        except (RedisError, OSError, TimeoutError) as error:
            self._refused = self._refusal(error)
        self._read_at = time.monotonic()

    def _is_forbidden(self) -> bool:
        return self._refused is not None and str(self._refused) == NO_RIGHTS

    def _refusal(self, error: Exception) -> CameraRefusal:
        if isinstance(error, (NoPermissionError, AuthorizationError)):
            # Installations without a pool need no such user, so this is not logged.
            return CameraRefusal(503, NO_RIGHTS)
        full = isinstance(error, OutOfMemoryError)
        if note := self._throttle.note(type(error)):
            what = "changed" if full else "read"
            log.warning("the cameras of the pool can't be %s: %s %s", what, self._explain(error), note)
        return CameraRefusal(503, words_of(error, _UNAVAILABLE))


def _no_camera(name: str) -> CameraRefusal:
    return CameraRefusal(404, f"There is no camera {name[:200]!r}.")


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(document)).encode()
