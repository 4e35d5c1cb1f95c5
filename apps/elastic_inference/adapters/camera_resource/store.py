"""The cluster's `Camera` objects: kept up to date by a watch, changed for REST, and given their status.

Called by the camera controller, on its event loop. It reads what the API server returns as input from outside.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from elastic_inference.adapters.camera_resource.resource import (
    LOGINS_SECRET,
    NAME_RULE,
    OBJECT_NAME,
    Stored,
    as_resource,
    read_camera,
    secret_entry,
    status_of,
)
from elastic_inference.adapters.camera_resource.schema import GROUP, KIND, PLURAL, VERSION
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.log import Throttle
from elastic_inference.domain.camera import MAX_CAMERAS, CameraSpec, CameraStatus

log = logging.getLogger(__name__)

CAMERA = create_namespaced_resource(GROUP, VERSION, KIND, PLURAL)
WATCH_S = 240
SECRETS_EVERY_S = 10.0
STATUS_WRITES_A_SECOND = 5
API_ERRORS = (ApiError, httpx2.HTTPError, OSError)


class CameraChangeError(Exception):
    """A change that the cluster does not accept; `status` is the HTTP status for REST, the text is for people."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class KubernetesCameras:
    """The `Camera` objects of one namespace."""

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._secrets: dict[str, Mapping[str, str] | None] = {}
        self._secrets_at = 0.0
        self._written: dict[str, Mapping[str, Any]] = {}
        self._throttle = Throttle()
        self.listed = False

    def cameras(self) -> dict[str, Stored]:
        """Every camera by its name, as last seen. Those over the limit of a pool are left out."""
        return {name: read_camera(self._resources[name], self._secrets) for name in sorted(self._resources)}

    async def watch(self, stop: asyncio.Event, on_change: Callable[[], None], on_error: Callable[[str], None]) -> None:
        """Follows the cluster until the stop. `on_change` is called after each change, `on_error` with a sentence."""
        backoff = Backoff(0.5, 10.0)
        while not stop.is_set():
            try:
                await self._list(on_change)
                backoff.reset()
                await self._follow(stop, on_change)
            except API_ERRORS as error:
                if not _is_expired(error):
                    on_error(explain(error))
                    await _wait(stop, backoff.next_s())

    async def read_secrets(self) -> bool:
        """Reads the Secrets that cameras name, each 10 s or where one is new. Returns whether any has changed."""
        named = {stored.secret for stored in self.cameras().values() if stored.secret is not None}
        now = time.monotonic()
        due = now - self._secrets_at >= SECRETS_EVERY_S
        wanted = named if due else named - self._secrets.keys()
        if due:
            self._secrets_at = now
        before = dict(self._secrets)
        for name in wanted:
            self._secrets[name] = await self._secret(name)
        for gone in self._secrets.keys() - named:
            del self._secrets[gone]
        return before != self._secrets

    async def create(self, spec: CameraSpec) -> None:
        """Adds a camera. Raises CameraChangeError or API_ERRORS."""
        if not OBJECT_NAME.fullmatch(spec.name):
            raise CameraChangeError(400, f"name: {NAME_RULE}")
        if spec.name in self._resources:
            raise CameraChangeError(409, f"There is a camera {spec.name} already.")
        await self._write_secret(spec.name, secret_entry(spec))
        with _explained():
            self._keep(await self._client.create(CAMERA.from_dict(as_resource(spec, self._namespace)), self._namespace))

    async def replace(self, spec: CameraSpec) -> None:
        """Changes a camera that was added by REST. Raises CameraChangeError or API_ERRORS."""
        stored = self._of_rest(spec.name)
        await self._write_secret(spec.name, secret_entry(spec))
        resource = as_resource(spec, self._namespace)
        resource["metadata"]["resourceVersion"] = stored.resource_version
        with _explained():
            self._keep(await self._client.replace(CAMERA.from_dict(resource), spec.name, namespace=self._namespace))

    async def delete(self, name: str) -> None:
        """Removes a camera that was added by REST. Raises CameraChangeError or API_ERRORS."""
        self._of_rest(name)
        with _explained():
            await self._client.delete(CAMERA, name, namespace=self._namespace)
        self._resources.pop(name, None)
        await self._write_secret(name, None)

    async def report(self, statuses: Mapping[str, CameraStatus]) -> None:
        """Writes the status of the objects whose status has changed, at most 5 a second. Raises API_ERRORS."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        written = 0
        for name, stored in self.cameras().items():
            status = statuses.get(name)
            if status is None or written == STATUS_WRITES_A_SECOND:
                continue
            fields = status_of(stored, status, now)
            if fields == (self._written.get(name) or stored.status):
                continue
            try:
                await self._client.patch(
                    CAMERA.Status, name, {"status": fields}, namespace=self._namespace, patch_type=PatchType.MERGE
                )
            except ApiError as error:
                if error.response.status_code != 404:
                    raise
            self._written[name] = fields
            written += 1
        for gone in self._written.keys() - self._resources.keys():
            del self._written[gone]

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.aclose()

    def _of_rest(self, name: str) -> Stored:
        stored = self.cameras().get(name)
        if stored is None:
            raise CameraChangeError(404, f"There is no camera {name}.")
        if not stored.by_rest:
            raise CameraChangeError(
                409, f"The camera {name} was applied to the cluster: change it there (kubectl edit camera {name})."
            )
        return stored

    async def _list(self, on_change: Callable[[], None]) -> None:
        found: dict[str, Mapping[str, Any]] = {}
        listing = self._client.list(CAMERA, namespace=self._namespace, chunk_size=500)
        async for resource in listing:
            if len(found) < MAX_CAMERAS:
                found[_name(resource)] = resource
            elif self._throttle.allow("many"):
                log.warning("more than %d cameras in this namespace; the others are left out", MAX_CAMERAS)
        self._resources, self._version = found, listing.resourceVersion
        self.listed = True
        on_change()

    async def _follow(self, stop: asyncio.Event, on_change: Callable[[], None]) -> None:
        events = self._client.watch(
            CAMERA, namespace=self._namespace, resource_version=self._version, server_timeout=WATCH_S
        )
        async for kind, resource in events:
            if stop.is_set():
                return
            if kind == "DELETED":
                self._resources.pop(_name(resource), None)
            elif kind in ("ADDED", "MODIFIED"):
                self._keep(resource)
            on_change()

    def _keep(self, resource: Any) -> None:
        name = _name(resource)
        if name in self._resources or len(self._resources) < MAX_CAMERAS:
            self._resources[name] = resource

    async def _secret(self, name: str) -> Mapping[str, str] | None:
        try:
            secret = await self._client.get(Secret, name, namespace=self._namespace)
        except ApiError as error:
            if error.response.status_code in (403, 404):
                return None
            raise
        return dict(secret.data or {})

    async def _write_secret(self, name: str, value: str | None) -> None:
        """Sets or removes one key of the controller's Secret. Raises CameraChangeError or API_ERRORS."""
        held = self._secrets.get(LOGINS_SECRET)
        if value is None and held is not None and name not in held:
            return
        try:
            secret = await self._client.patch(Secret, LOGINS_SECRET, {"data": {name: value}}, namespace=self._namespace)
        except ApiError as error:
            if error.response.status_code == 404:
                if value is None:
                    return
                raise CameraChangeError(
                    503, f"The Secret {LOGINS_SECRET} is missing: apply the core's manifest again."
                ) from None
            raise
        self._secrets[LOGINS_SECRET] = dict(secret.data or {})


class _explained:  # noqa: N801  used as a word: `with _explained()`
    """Turns the API server's refusal of an object into a CameraChangeError with its own sentence."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ApiError) and error.response.status_code in (400, 404, 409, 422):
            status = error.response.status_code
            raise CameraChangeError(400 if status == 422 else status, str(error.status.message)[:500]) from None


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource["metadata"]["name"])


def explain(error: BaseException) -> str:
    """What an error of the API server means, in a sentence."""
    if isinstance(error, ApiError):
        code = error.response.status_code
        if code == 403:
            return f"The API server forbids it: apply the core's manifest again. {str(error.status.message)[:200]}"
        if code == 404:
            return "The cluster does not know cameras.elastic-inference.io: apply the core's manifest again."
        return f"The API server answers {code}: {str(error.status.message)[:200]}"
    return f"The API server does not answer ({type(error).__name__})."


def _is_expired(error: BaseException) -> bool:
    """Whether a watch has to begin with a new list."""
    if isinstance(error, ApiError):
        return error.status.code == 410
    return isinstance(error, httpx2.ReadTimeout | httpx2.RemoteProtocolError)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
