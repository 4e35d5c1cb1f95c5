"""The cluster's `Camera` objects: kept up to date by a watch, changed for REST, and given their status.

Called by the camera controller, on its event loop. It reads what the API server returns as input from outside.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.config.client_adapter import verify_cluster
from lightkube.core.exceptions import ConfigError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import PatchType

from elastic_inference.adapters.camera_registry.requests import pause
from elastic_inference.adapters.camera_resource.api_errors import (
    API_ERRORS,
    OF_ONE_OBJECT,
    code_of,
    explain,
    is_expired,
    refusals,
)
from elastic_inference.adapters.camera_resource.api_transport import (
    WATCH_S,
    AnswerTooLargeError,
    ApiAnswerError,
    BoundedTransport,
)
from elastic_inference.adapters.camera_resource.camera_secrets import CameraSecrets
from elastic_inference.adapters.camera_resource.kept_objects import MAX_TOTAL_BYTES, Kept, bounded, is_older, kept, put
from elastic_inference.adapters.camera_resource.resource import (
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
STATUS_WRITES_A_SECOND = 5
# Objects in a part of the list: fewer if they are so large that an answer has too many bytes.
_PART, _SMALL_PART = 256, 8
# All parts together.
LIST_S = 60.0
# A watch that has lasted this long was a success.
STEADY_S = 10.0


def connect() -> AsyncClient:
    """A client of the API server, as the pod's service account or as KUBECONFIG says. Raises ElasticInferenceError."""
    # It logs a line for each request.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        config = KubeConfig.from_env().get()
        if SERVICE_ACCOUNT_CA.is_file():
            trusted = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT_CA))
            # From 3.13 on, Python refuses authorities without a key usage, which those of some clusters lack.
            trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
        elif config is not None and config.user is not None:
            trusted = verify_cluster(config.cluster, config.user, config.abs_file)
        else:
            raise ConfigError("it has no context with a user")
        return AsyncClient(config=config, transport=BoundedTransport(httpx2.AsyncHTTPTransport(verify=trusted)))
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
        self._resources: dict[str, Kept] = {}
        self._secrets = CameraSecrets(client, namespace)
        # The parsed objects, each with the object and the Secret from which it was parsed.
        self._read: dict[str, tuple[Kept, Stored, Mapping[str, str] | None]] = {}
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
            if known is None or known[0] is not resource or known[2] != self._secrets.held.get(known[1].secret or ""):
                stored = read_camera(resource, self._secrets.held)
                known = resource, stored, self._secrets.held.get(stored.secret or "")
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
        """Reads new Secrets, and all of them every 10 s; the watch covers everything else.

        It waits for a second at most: the owner must renew its lock meanwhile.
        """
        if not self._listed:
            return
        await self._secrets.refresh(self.stored, lambda: not self._problem)

    async def commit(self) -> None:
        """Does nothing: the API server has made each change durable."""

    async def watch(self, stop: asyncio.Event) -> None:
        """Follows the cluster until the stop. Errors become `problem`."""
        backoff = Backoff(0.5, 10.0)
        while not stop.is_set():
            began, watches = time.monotonic(), False
            try:
                await self._list()
                self._problem, watches = "", True
                await self._follow(stop)
            except API_ERRORS as error:
                if not (watches and is_expired(error)):
                    self._problem = explain(error)
                    if note := self._throttle.note("watch"):
                        log.warning("the cluster's cameras cannot be watched: %s %s", self._problem, note)
            except Exception:
                # Top of a task: neither a bug nor rubbish from the server may stop the watch for good.
                self._problem = "The API server sent what cannot be read: see the controller's log."
                if note := self._throttle.note("bug"):
                    log.exception("watching the cluster's cameras failed %s", note)
            if time.monotonic() - began > STEADY_S:
                backoff.reset()
            else:
                await pause(stop, backoff.next_s())

    async def create(self, spec: CameraSpec) -> None:
        """Adds a camera. Raises CameraRefusal."""
        if not OBJECT_NAME.fullmatch(spec.name):
            raise CameraRefusal(400, f"name: {NAME_RULE}.", {"name": f"{NAME_RULE[:1].upper()}{NAME_RULE[1:]}."})
        if len(self._resources) >= MAX_CAMERAS:
            raise CameraRefusal(409, f"The pool has {MAX_CAMERAS} cameras, which is the maximum: remove one first.")
        if spec.name in self._resources:
            raise CameraRefusal(409, f"There is already a camera {spec.name}, but its object cannot be used.")
        await self._secrets.write(spec.name, secret_entry(spec))
        with refusals():
            self._keep(await self._client.create(CAMERA.from_dict(as_resource(spec, self._namespace)), self._namespace))

    async def replace(self, spec: CameraSpec) -> None:
        """Changes a camera that was added by REST. Raises CameraRefusal."""
        stored = self._of_rest(spec.name)
        await self._secrets.write(spec.name, secret_entry(spec))
        resource = as_resource(spec, self._namespace)
        resource["metadata"]["resourceVersion"] = stored.resource_version
        with refusals():
            self._keep(await self._client.replace(CAMERA.from_dict(resource), spec.name, namespace=self._namespace))

    async def delete(self, name: str) -> None:
        """Removes a camera that was added by REST. Raises CameraRefusal."""
        self._of_rest(name)
        with refusals():
            await self._client.delete(CAMERA, name, namespace=self._namespace)
        self._resources.pop(name, None)
        await self._secrets.write(name, None)

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
            before = self._written.get(name) or stored.status
            fields = status_of(replace(stored, status=before), status, now)
            if fields == before:
                continue
            # Also if the server refuses it: then the others come first the next time.
            self._turn += 1
            self._turns[name] = self._turn
            try:
                await self._client.patch(
                    CAMERA.Status, name, {"status": fields}, namespace=self._namespace, patch_type=PatchType.MERGE
                )
            except ApiError as error:
                if code_of(error) not in OF_ONE_OBJECT:
                    raise
                if code_of(error) != 404 and (note := self._throttle.note("status")):
                    log.warning("the status of the camera %s is not accepted: %s %s", name, explain(error), note)
            # A refused status is not tried again until it changes: the others would wait for it.
            self._written[name] = fields
            written += 1
        for record in (self._written, self._turns):
            for gone in record.keys() - self._resources.keys():
                del record[gone]

    async def close(self) -> None:
        """Closes the connection."""
        await self._secrets.close()
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
        part = _PART
        while True:
            try:
                async with asyncio.timeout(LIST_S):
                    self._resources, self._version = await self._listed_objects(part)
                self._listed = True
                return
            except AnswerTooLargeError:
                if part == _SMALL_PART:
                    raise
                part = _SMALL_PART
            except TimeoutError:
                raise ApiAnswerError(f"has not listed the cameras within {LIST_S:.0f} s") from None

    async def _listed_objects(self, part: int) -> tuple[dict[str, Kept], str]:
        """All objects, the oldest if there are too many, and the version of the list."""
        found: list[Kept] = []
        count = size = 0
        listing = self._client.list(CAMERA, namespace=self._namespace, chunk_size=part)
        async for resource in listing:
            if (each := self._kept(resource)) is not None:
                count += 1
                size += len(each["spec"])
                found.append(each)
            if len(found) >= 2 * MAX_CAMERAS or size > 2 * MAX_TOTAL_BYTES:
                found = list(bounded(found).values())
                size = sum(len(each["spec"]) for each in found)
        if count > MAX_CAMERAS:
            self._say_many()
        return bounded(found), listing.resourceVersion

    async def _follow(self, stop: asyncio.Event) -> None:
        events = self._client.watch(
            CAMERA, namespace=self._namespace, resource_version=self._version, server_timeout=WATCH_S
        )
        async for kind, resource in events:
            if stop.is_set():
                return
            found = self._kept(resource)
            if found is None:
                continue
            name = found["metadata"]["name"]
            before = self._resources.get(name)
            if before is not None and is_older(found, before):
                continue  # it began before what REST has written since
            if kind == "DELETED":
                self._resources.pop(name, None)
            elif kind in ("ADDED", "MODIFIED") and not put(self._resources, found):
                self._say_many()

    def _kept(self, resource: object) -> Kept | None:
        found = kept(resource)
        if found is None and (note := self._throttle.note("object")):
            log.warning("the API server sent an object that is no camera %s", note)
        return found

    def _keep(self, resource: object) -> None:
        """Takes what the API server has answered to a change."""
        if (found := self._kept(resource)) is not None:
            put(self._resources, found)

    def _say_many(self) -> None:
        if self._throttle.allow("many"):
            log.warning("more than %d cameras in this namespace; the youngest are left out", MAX_CAMERAS)
