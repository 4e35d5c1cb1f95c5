"""The owner of the cameras: keeps the registry equal to its store, and carries out the gateway's requests.

Run by housekeeping with the file of `CAMERAS_FILE`, and by the camera controller with the cluster's resources. One of
several replicas holds the lock and works; the others wait. It is the only writer of specifications, logins and the
list of wanted cameras.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from elastic_inference.adapters.camera_registry.camera_store import CameraStore
from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, spec_value, too_large
from elastic_inference.adapters.camera_registry.requests import (
    REQUEST_LIFE_S,
    Reply,
    Request,
    pause,
    read_request,
    send_reply,
    take_requests,
)
from elastic_inference.adapters.camera_registry.writer import LOCK_LIFE_S, RegistryWriter
from elastic_inference.base.log import Throttle
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_changes import new_camera, patched, replaced
from elastic_inference.domain.camera_errors import CameraRefusal

log = logging.getLogger(__name__)

# A change of the store must be in the registry within a second, so that it takes effect within two.
ROUND_S = 0.5
# How often the whole registry is compared; in between, only the numbers of entries are.
COMPARE_EVERY_S = 3.0
# Requests that are committed together.
_BATCH = 64
_LEAD_EVERY_S = 1.0
# After a longer pause of this process, another replica may hold the lock.
_LOCK_SURE_S = LOCK_LIFE_S - 2.0

_FAILED = Reply(
    503, message="The change failed for a reason of its own: see the log of the service that owns the cameras."
)


class CameraOwner:
    """One replica. `run` works until the stop."""

    def __init__(
        self,
        client: aioredis.Redis,
        store: CameraStore,
        name: str,
        report: Callable[[str | None], None],
        explain: Callable[[Exception], str] = str,
    ) -> None:
        """`name` is unique among the replicas. `report` is called in each round with what is wrong, or None.

        `client` is one of the queue's Redis, opened with a key of `{cameras}`; the caller closes it. `explain` turns
        a Redis error into one line.
        """
        self._client = client
        self._store = store
        self._report = report
        self._explain = explain
        self._writer = RegistryWriter(client, name)
        self._held: dict[str, CompleteCamera] = {}
        self._seeded = False
        self._written: dict[str, CompleteCamera] | None = None
        self._compared_at = float("-inf")
        self._locked_at = float("-inf")
        self._leads = False
        self._throttle = Throttle()

    @property
    def leads(self) -> bool:
        """Whether this replica holds the lock."""
        return self._leads and time.monotonic() - self._locked_at < _LOCK_SURE_S

    async def run(self, stop: asyncio.Event) -> None:
        """Rounds of half a second, and requests between them, until the stop."""
        while not stop.is_set():
            started = time.monotonic()
            try:
                await self._round()
                await self._take_requests(stop, started + ROUND_S)
            except (RedisError, OSError) as error:
                self._lost_redis(error)
            except Exception:
                # Top of a task: a bug in one round must not end the others.
                log.exception("a round of the cameras failed")
            await pause(stop, started + ROUND_S - time.monotonic())
        if self.leads:
            try:
                async with asyncio.timeout(1.0):
                    await self._writer.release_lock()
            except (RedisError, OSError, TimeoutError):
                pass  # the lock expires

    async def _lead(self) -> None:
        """Takes or renews the lock, and reports."""
        problem, now = self._store.problem, time.monotonic()
        led, self._leads = self._leads, await self._writer.hold_lock(problem)
        self._locked_at = now
        self._report(problem or None)
        if self._leads is not led:
            log.info("this replica %s the cameras", "owns" if self._leads else "no longer owns")
            self._seeded = False

    async def _round(self) -> None:
        await self._store.refresh()
        await self._lead()
        if not self._leads:
            return
        if not self._seeded:
            # Revisions continue from those that workers have.
            self._held = await self._writer.read()
            self._written, self._seeded = None, True
        self._adopt()
        await self._fill(self._locked_at)

    def _adopt(self) -> None:
        """Gives each camera that has changed in the store a new revision."""
        cameras = self._store.cameras()
        if cameras is None:
            return
        held: dict[str, CompleteCamera] = {}
        for name, spec in cameras.items():
            before = self._held.get(name)
            if before is not None and before.spec == spec:
                held[name] = before
            else:
                # By the clock, so that no revision is used twice, even if Redis and this process lose their data.
                revision = max(before.revision + 1 if before else 1, int(time.time() * 1000))
                held[name] = CompleteCamera(revision, spec)
        self._held = held

    async def _fill(self, now: float) -> None:
        """Writes the registry where it differs."""
        if self._store.cameras() is None:
            return
        due = now - self._compared_at >= COMPARE_EVERY_S
        if not due and self._written == self._held and await self._writer.looks_complete():
            return
        if not self.leads:
            return
        changed = await self._writer.write(self._held)
        if changed and self._written == self._held:
            log.info(
                "%d entries in the registry of cameras were missing or wrong, and have been written again", changed
            )
        self._written, self._compared_at = dict(self._held), now

    async def _take_requests(self, stop: asyncio.Event, until: float) -> None:
        if not self._leads:
            return
        while not stop.is_set() and (left := until - time.monotonic()) > 0.02:
            if found := await take_requests(self._client, min(left, 0.5), _BATCH):
                await self._while_leading(asyncio.create_task(self._serve(found)))

    async def _while_leading(self, work: asyncio.Task[None]) -> None:
        """Renews the lock until the work is done: a slow store may take seconds for each request."""
        while not (await asyncio.wait({work}, timeout=_LEAD_EVERY_S))[0]:
            with contextlib.suppress(RedisError, OSError):
                await self._lead()
        work.result()

    async def _serve(self, raws: Sequence[object]) -> None:
        seconds, micros = await self._client.time()
        requests = [each for raw in raws if (each := read_request(raw, seconds + micros / 1e6)) is not None]
        if len(requests) < len(raws) and (note := self._throttle.note("request")):
            log.warning("requests for cameras that are malformed or too old are dropped %s", note)
        await self._store.refresh()
        self._adopt()
        before = self._held
        until = time.monotonic() + REQUEST_LIFE_S
        # Nobody waits any longer for the answer to a later one.
        replies = [(each, await self._carry_out(each)) for each in requests if time.monotonic() < until]
        try:
            if not self.leads:
                raise CameraRefusal(503, "Another replica owns the cameras now: try again in a moment.")
            await self._store.commit()
        except Exception as error:
            # A bug must not cost the others their answers, which nobody else gives.
            if not isinstance(error, CameraRefusal):
                log.exception("changes of cameras could not be saved")
            self._held = before
            failed = _refused(error) if isinstance(error, CameraRefusal) else _FAILED
            replies = [(request, failed if reply.status < 400 else reply) for request, reply in replies]
        self._adopt()
        await self._fill(time.monotonic())
        for request, reply in replies:
            await send_reply(self._client, request.id, reply)
            done = "done" if reply.status < 400 else f"refused ({reply.status})"
            log.info("camera %s: %s by %s: %s", request.name, request.action, request.by or "somebody", done)

    async def _carry_out(self, request: Request) -> Reply:
        try:
            status = await self._change(request)
        except CameraRefusal as refusal:
            return _refused(refusal)
        except Exception:
            log.exception("camera %s: %s failed", request.name, request.action)
            return _FAILED
        self._adopt()
        camera = self._held.get(request.name)
        document = {"name": request.name, **json.loads(spec_value(camera))} if camera else {}
        return Reply(status, document)

    async def _change(self, request: Request) -> int:
        """Makes one change in the store; returns its HTTP status. Raises CameraRefusal."""
        current = self._held.get(request.name)
        if request.action == "create":
            spec = new_camera(dict(request.spec))
            if spec.name in self._held:
                raise CameraRefusal(409, f"There is already a camera {spec.name}: change it, or choose another name.")
            if spec.name != request.name:
                raise CameraRefusal(400, "Expected one name.")
            _check_size(spec)
            await self._store.create(spec)
            return 201
        if current is None:
            raise CameraRefusal(404, f"There is no camera {request.name}.")
        if request.revision is not None and request.revision != current.revision:
            raise CameraRefusal(
                412, f"The camera {request.name} has been changed since you read it: read it again, then change it."
            )
        if request.action == "delete":
            await self._store.delete(request.name)
            return 204
        change = {"replace": replaced, "patch": patched}.get(request.action)
        if change is None:
            raise CameraRefusal(400, "The owner of the cameras does not know this request: update housekeeping.")
        spec = change(current.spec, dict(request.spec))
        if spec != current.spec:
            _check_size(spec)
            await self._store.replace(spec)
        return 200

    def _lost_redis(self, error: Exception) -> None:
        text = self._explain(error)
        self._report(text)
        if note := self._throttle.note(type(error)):
            log.warning("the registry of cameras can't be updated: %s %s", text, note)


def _check_size(spec: CameraSpec) -> None:
    if problem := too_large(spec):
        raise CameraRefusal(400, f"{problem[:1].upper()}{problem[1:]}.")


def _refused(refusal: CameraRefusal) -> Reply:
    return Reply(refusal.status, message=str(refusal), fields=refusal.fields)
