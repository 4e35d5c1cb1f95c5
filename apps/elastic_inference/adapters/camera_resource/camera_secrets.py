"""The Secrets that cameras name, and the one to which the controller writes the logins of cameras added by REST.

Called by `kubernetes_store`, on its event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from lightkube import ApiError, AsyncClient
from lightkube.resources.core_v1 import Secret

from elastic_inference.adapters.camera_resource.api_errors import API_ERRORS, code_of, explain, refusals
from elastic_inference.adapters.camera_resource.resource import LOGINS_SECRET, MAX_SECRET_VALUE, Stored
from elastic_inference.base.log import Throttle
from elastic_inference.domain.camera_errors import CameraRefusal

log = logging.getLogger(__name__)

SECRETS_EVERY_S = 10.0
# How long a round of the owner waits for Secrets; they arrive in a later one.
REFRESH_S = 1.0
_AT_ONCE = 8


class CameraSecrets:
    """`held` has the data of each Secret that a camera names, None for one that is missing or forbidden."""

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self.held: dict[str, Mapping[str, str] | None] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._writes = 0
        # Logins that no object names, as of the last look.
        self._unnamed: set[str] = set()
        self._throttle = Throttle()

    async def refresh(self, stored: Callable[[], Mapping[str, Stored]], complete: Callable[[], bool]) -> None:
        """Reads new Secrets, and all of them every 10 s. Waits for a second at most: the owner has to renew its lock.

        `complete` says whether `stored` has all objects.
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(stored, complete))
        done, _ = await asyncio.wait({self._reading}, timeout=REFRESH_S)
        if not done:
            return
        reading, self._reading = self._reading, None
        try:
            reading.result()
        except API_ERRORS as error:
            if note := self._throttle.note("secrets"):
                log.warning("the Secrets of cameras cannot be read: %s %s", explain(error), note)

    async def close(self) -> None:
        """Ends a reading that still runs."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def _read(self, stored: Callable[[], Mapping[str, Stored]], complete: Callable[[], bool]) -> None:
        named = _named(stored())
        now = time.monotonic()
        due = now - self._read_at >= SECRETS_EVERY_S
        wanted = named if due else named - self.held.keys()
        if due:
            self._read_at = now
            await self._remove_unnamed(stored, complete)
        places = asyncio.Semaphore(_AT_ONCE)

        async def read(name: str) -> None:
            async with places:
                before = self._writes
                found = await self._secret(name)
                if before == self._writes:  # else it may be older than what was written
                    self.held[name] = found

        errors = await asyncio.gather(*map(read, wanted), return_exceptions=True)
        for gone in self.held.keys() - _named(stored()):
            del self.held[gone]
        for error in errors:
            if error is not None:
                raise error

    async def _remove_unnamed(self, stored: Callable[[], Mapping[str, Stored]], complete: Callable[[], bool]) -> None:
        """Removes logins of cameras that were added by REST and whose objects are gone (`kubectl delete camera`).

        Two looks must have seen no object: a login is written before its object.
        """
        held = await self._secret(LOGINS_SECRET) or {}
        named = {name for name, each in stored().items() if each.by_rest or each.secret == LOGINS_SECRET}
        unnamed = set(held) - named if complete() else set()
        gone = sorted(unnamed & self._unnamed)
        self._unnamed = unnamed
        for name in gone:
            await self._client.patch(Secret, LOGINS_SECRET, {"data": {name: None}}, namespace=self._namespace)
            log.info("the login of the camera %s is removed: its object is gone", name)

    async def _secret(self, name: str) -> Mapping[str, str] | None:
        try:
            secret = await self._client.get(Secret, name, namespace=self._namespace)
        except ApiError as error:
            if code_of(error) in (403, 404):
                return None
            raise
        return _values(secret.data)

    async def write(self, name: str, value: str | None) -> None:
        """Sets or removes one key of the controller's Secret. Raises CameraRefusal."""
        held = self.held.get(LOGINS_SECRET)
        if value is None and held is not None and name not in held:
            return
        with refusals():
            try:
                secret = await self._client.patch(
                    Secret, LOGINS_SECRET, {"data": {name: value}}, namespace=self._namespace
                )
            except ApiError as error:
                if code_of(error) != 404:
                    raise
                if value is None:
                    return
                raise CameraRefusal(
                    503, f"The Secret {LOGINS_SECRET} is missing: apply the core's manifest again."
                ) from None
        self.held[LOGINS_SECRET] = _values(secret.data)
        self._writes += 1


def _named(stored: Mapping[str, Stored]) -> set[str]:
    return {each.secret for each in stored.values() if each.secret is not None}


def _values(data: Mapping[str, str] | None) -> dict[str, str]:
    """The values, as long as they may be and a little longer."""
    return {key: value[: MAX_SECRET_VALUE + 1] for key, value in (data or {}).items() if isinstance(value, str)}
