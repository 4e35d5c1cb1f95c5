"""The cluster's `Camera` objects: kept up to date by a watch, changed for REST, and given their status.

Called by the camera controller, on its event loop. It reads what the API server returns as input from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from elastic_inference.adapters.camera_registry.requests import pause
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
from elastic_inference.domain.camera import MAX_CAMERAS, CameraSpec, CameraState, CameraStatus
from elastic_inference.domain.camera_errors import CameraRefusal
from elastic_inference.domain.errors import ElasticInferenceError

log = logging.getLogger(__name__)

CAMERA = create_namespaced_resource(GROUP, VERSION, KIND, PLURAL)
SERVICE_ACCOUNT_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
WATCH_S = 240
SECRETS_EVERY_S = 10.0
STATUS_WRITES_A_SECOND = 5
# Statuses that concern one object, not the API server: a bad request, a missing object, a conflict.
_OF_ONE_OBJECT = frozenset((400, 404, 409, 413, 422))
API_ERRORS = (ApiError, httpx2.HTTPError, OSError)


def connect() -> AsyncClient:
    """A client of the API server, as the pod's service account or as KUBECONFIG says. Raises ElasticInferenceError."""
    # It logs a line for each request.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    transport = None
    if SERVICE_ACCOUNT_CA.is_file():
        trusted = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT_CA))
        # From 3.13 on, Python refuses authorities without a key usage, which those of some clusters lack.
        trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
        transport = httpx2.AsyncHTTPTransport(verify=trusted)
    try:
        return AsyncClient(transport=transport)
    except ConfigError as error:
        raise ElasticInferenceError(
            f"Expected the service account of a pod, or a cluster that KUBECONFIG names: {error}"
        ) from None


class KubernetesStore:
    """A `CameraStore`: the `Camera` objects of one namespace. `watch` must run beside its owner."""

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._problem = "The cluster's cameras have not been read yet."
        self._version = ""
        self._listed = False
        # A camera whose object or Secret can no longer be used stays as it was.
        self._last_good: dict[str, CameraSpec] = {}
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._secrets: dict[str, Mapping[str, str] | None] = {}
        self._secrets_at = float("-inf")
        # Logins that no object names, as of the last look.
        self._unnamed: set[str] = set()
        # The parsed objects, each with the object and the Secret from which it was parsed.
        self._read: dict[str, tuple[Mapping[str, Any], Stored, Mapping[str, str] | None]] = {}
        self._written: dict[str, Mapping[str, Any]] = {}
        # When each was written last, as a count of writes.
        self._turns: dict[str, int] = {}
        self._turn = 0
        self._throttle = Throttle()

    @property
    def problem(self) -> str:
        """Why the cluster's cameras cannot be read; empty if they can."""
        return self._problem

    def stored(self) -> dict[str, Stored]:
        """Every object by its name, as last seen, including those that cannot be used."""
        read = {}
        for name, resource in sorted(self._resources.items()):
            known = self._read.get(name)
            if known is None or known[0] is not resource or known[2] != self._secrets.get(known[1].secret or ""):
                stored = read_camera(resource, self._secrets)
                known = resource, stored, self._secrets.get(stored.secret or "")
            read[name] = known
        self._read = read
        return {name: stored for name, (_, stored, _) in read.items()}

    def cameras(self) -> Mapping[str, CameraSpec] | None:
        """All cameras that can be used, with their logins; None until they have been read for the first time."""
        if not self._listed:
            return None
        found = {}
        for name, stored in self.stored().items():
            spec = stored.spec or self._last_good.get(name)
            if spec is not None:
                found[name] = spec
        self._last_good = found
        return found

    async def refresh(self) -> None:
        """Reads new Secrets, and all of them every 10 s; the watch covers everything else."""
        if not self._listed:
            return
        try:
            await self._read_secrets()
        except API_ERRORS as error:
            if note := self._throttle.note("secrets"):
                log.warning("the Secrets of cameras cannot be read: %s %s", explain(error), note)

    async def commit(self) -> None:
        """Does nothing: the API server has made each change durable."""

    async def watch(self, stop: asyncio.Event) -> None:
        """Follows the cluster until the stop. Errors become `problem`."""
        backoff = Backoff(0.5, 10.0)
        while not stop.is_set():
            try:
                await self._list()
                backoff.reset()
                self._problem = ""
                await self._follow(stop)
            except API_ERRORS as error:
                if not _is_expired(error):
                    self._problem = explain(error)
                    if note := self._throttle.note("watch"):
                        log.warning("the cluster's cameras cannot be watched: %s %s", self._problem, note)
                    await pause(stop, backoff.next_s())
            except Exception:
                # Top of a task: a bug must not stop the watch for good.
                self._problem = "The cluster's cameras could not be read: see the controller's log."
                log.exception("watching the cluster's cameras failed")
                await pause(stop, backoff.next_s())

    async def _read_secrets(self) -> None:
        named = {stored.secret for stored in self.stored().values() if stored.secret is not None}
        now = time.monotonic()
        due = now - self._secrets_at >= SECRETS_EVERY_S
        wanted = named if due else named - self._secrets.keys()
        if due:
            self._secrets_at = now
            await self._remove_unnamed_logins()
        for name in wanted:
            self._secrets[name] = await self._secret(name)
        for gone in self._secrets.keys() - named:
            del self._secrets[gone]

    async def _remove_unnamed_logins(self) -> None:
        """Removes logins of cameras that were added by REST and whose objects are gone (`kubectl delete camera`).

        Two looks must have seen no object: a login is written before its object.
        """
        held = await self._secret(LOGINS_SECRET) or {}
        named = {name for name, stored in self.stored().items() if stored.by_rest or stored.secret == LOGINS_SECRET}
        unnamed = set(held) - named if not self._problem else set()
        gone = sorted(unnamed & self._unnamed)
        self._unnamed = unnamed
        for name in gone:
            await self._client.patch(Secret, LOGINS_SECRET, {"data": {name: None}}, namespace=self._namespace)
            log.info("the login of the camera %s is removed: its object is gone", name)

    async def create(self, spec: CameraSpec) -> None:
        """Adds a camera. Raises CameraRefusal."""
        if not OBJECT_NAME.fullmatch(spec.name):
            raise CameraRefusal(400, f"name: {NAME_RULE}.", {"name": f"{NAME_RULE[:1].upper()}{NAME_RULE[1:]}."})
        if spec.name in self._resources:
            raise CameraRefusal(409, f"There is already a camera {spec.name}, but its object cannot be used.")
        await self._write_secret(spec.name, secret_entry(spec))
        with _refusals():
            self._keep(await self._client.create(CAMERA.from_dict(as_resource(spec, self._namespace)), self._namespace))

    async def replace(self, spec: CameraSpec) -> None:
        """Changes a camera that was added by REST. Raises CameraRefusal."""
        stored = self._of_rest(spec.name)
        await self._write_secret(spec.name, secret_entry(spec))
        resource = as_resource(spec, self._namespace)
        resource["metadata"]["resourceVersion"] = stored.resource_version
        with _refusals():
            self._keep(await self._client.replace(CAMERA.from_dict(resource), spec.name, namespace=self._namespace))

    async def delete(self, name: str) -> None:
        """Removes a camera that was added by REST. Raises CameraRefusal."""
        self._of_rest(name)
        with _refusals():
            await self._client.delete(CAMERA, name, namespace=self._namespace)
        self._resources.pop(name, None)
        await self._write_secret(name, None)

    async def report(self, statuses: Mapping[str, CameraStatus]) -> None:
        """Writes the status of the objects whose status has changed, at most 5 a second. Raises API_ERRORS.

        Objects written longest ago come first: cameras that change all the time must not delay the others.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        written = 0
        known = self.stored()
        for name in sorted(known, key=lambda each: self._turns.get(each, 0)):
            stored, status = known[name], statuses.get(name)
            if status is None and stored.problem:
                # It could never be used, so the pool does not know it.
                status = CameraStatus(CameraState.UNASSIGNED)
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
                if _code(error) not in _OF_ONE_OBJECT:
                    raise
                if _code(error) != 404 and (note := self._throttle.note("status")):
                    log.warning("the status of the camera %s is not accepted: %s %s", name, explain(error), note)
            # A refused status is not tried again until it changes: the others would wait for it.
            self._written[name] = fields
            self._turn += 1
            self._turns[name] = self._turn
            written += 1
        for gone in self._written.keys() - self._resources.keys():
            del self._written[gone], self._turns[gone]

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.aclose()

    def _of_rest(self, name: str) -> Stored:
        stored = self.stored().get(name)
        if stored is None:
            raise CameraRefusal(404, f"There is no camera {name}.")
        if not stored.by_rest:
            raise CameraRefusal(
                409, f"The camera {name} was applied to the cluster: change it there (kubectl edit camera {name})."
            )
        return stored

    async def _list(self) -> None:
        found: dict[str, Mapping[str, Any]] = {}
        listing = self._client.list(CAMERA, namespace=self._namespace, chunk_size=500)
        async for resource in listing:
            if len(found) < MAX_CAMERAS:
                found[_name(resource)] = resource
            elif self._throttle.allow("many"):
                log.warning("more than %d cameras in this namespace; the others are left out", MAX_CAMERAS)
        self._resources, self._version = found, listing.resourceVersion
        self._listed = True

    async def _follow(self, stop: asyncio.Event) -> None:
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

    def _keep(self, resource: Any) -> None:
        name = _name(resource)
        if name in self._resources or len(self._resources) < MAX_CAMERAS:
            self._resources[name] = resource

    async def _secret(self, name: str) -> Mapping[str, str] | None:
        try:
            secret = await self._client.get(Secret, name, namespace=self._namespace)
        except ApiError as error:
            if _code(error) in (403, 404):
                return None
            raise
        return dict(secret.data or {})

    async def _write_secret(self, name: str, value: str | None) -> None:
        """Sets or removes one key of the controller's Secret. Raises CameraRefusal."""
        held = self._secrets.get(LOGINS_SECRET)
        if value is None and held is not None and name not in held:
            return
        with _refusals():
            try:
                secret = await self._client.patch(
                    Secret, LOGINS_SECRET, {"data": {name: value}}, namespace=self._namespace
                )
            except ApiError as error:
                if _code(error) != 404:
                    raise
                if value is None:
                    return
                raise CameraRefusal(
                    503, f"The Secret {LOGINS_SECRET} is missing: apply the core's manifest again."
                ) from None
        self._secrets[LOGINS_SECRET] = dict(secret.data or {})


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turns an error of the API server into a CameraRefusal with its own sentence."""
    try:
        yield
    except API_ERRORS as error:
        code = _code(error) if isinstance(error, ApiError) else 503
        status = {400: 400, 404: 404, 409: 412, 422: 400}.get(code, 503)
        raise CameraRefusal(status, explain(error)) from None


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource["metadata"]["name"])


def _code(error: ApiError) -> int:
    """The HTTP status of an API error. Inside a watch, it is in the error's document only."""
    response: httpx2.Response | None = error.response
    return response.status_code if response is not None else int(error.status.code or 500)


def explain(error: BaseException) -> str:
    """An error of the API server as a sentence for people."""
    if isinstance(error, ApiError):
        code = _code(error)
        if code == 403:
            return f"The API server forbids it: apply the core's manifest again. {str(error.status.message)[:200]}"
        if code == 404:
            return "The cluster does not know cameras.elastic-inference.io: apply the core's manifest again."
        return f"The API server answers {code}: {str(error.status.message)[:200]}"
    return f"The API server does not answer ({' '.join(str(error).split())[:200] or type(error).__name__})."


def _is_expired(error: BaseException) -> bool:
    """Whether a watch has to start again with a new list."""
    if isinstance(error, ApiError):
        return _code(error) == 410
    return isinstance(error, httpx2.ReadTimeout | httpx2.RemoteProtocolError)
