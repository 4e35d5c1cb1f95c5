"""Writes what the owner of the cameras wants into the registry. asyncio; called only by `owner`.

Each call compares what Redis holds with what it should hold, and writes only the difference: if Redis restarted
empty or somebody changed a key, the next call repairs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis.asyncio as aioredis
from redis.exceptions import NoScriptError

from elastic_inference.adapters.camera_registry.camera_values import (
    CompleteCamera,
    complete,
    read_spec,
    read_status,
    read_wanted,
    readable,
    secrets_value,
    spec_value,
    wanted_value,
)
from elastic_inference.adapters.camera_registry.expected_costs import ExpectedCosts
from elastic_inference.adapters.redis_input import read_fields, read_name
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraStatus

LOCK_LIFE_S = 5.0
# A cost is written only if it changed by more than this share: workers need no more precision.
_COST_STEP = 0.2
_COST_FLOOR = 0.003
# An extra field of `{cameras}:wanted`: it distinguishes an empty list from one that Redis has lost.
KNOWN = b":known"
_HASHES = (keys.CAMERA_SPECS, keys.CAMERA_SECRETS, keys.CAMERA_WANTED, keys.CAMERA_STATUS)


class RegistryWriter:
    """Writes the registry for one owner. Every method raises REDIS_ERRORS when Redis is unavailable."""

    def __init__(self, client: aioredis.Redis, owner: str) -> None:
        """`owner` names this process in the lock. The caller closes the client."""
        self._client = client
        self._owner = owner
        self._lock = (Path(__file__).parent / "lock.lua").read_text()
        self._sha = ""
        self._lengths: tuple[int, ...] = ()
        self._costs = ExpectedCosts()

    async def hold_lock(self, problem: str) -> bool:
        """Takes or renews the lock for 5 s, and stores in it why cameras can't be changed. Call it every second."""
        arguments = (1, keys.CAMERA_OWNER, self._owner, problem[:500], int(LOCK_LIFE_S * 1000))
        try:
            held: Any = await self._client.evalsha(self._sha or "0" * 40, *arguments)
        except NoScriptError:
            self._sha = str(await self._client.script_load(self._lock))
            held = await self._client.evalsha(self._sha, *arguments)
        return bool(held)

    async def release_lock(self) -> None:
        """Releases the lock, so that another replica need not wait until it expires."""
        held = await self._client.get(keys.CAMERA_OWNER)
        if isinstance(held, bytes) and held.startswith(self._owner.encode() + b"\n"):
            await self._client.unlink(keys.CAMERA_OWNER)

    async def read(self) -> dict[str, CompleteCamera]:
        """The cameras that the registry holds, whoever wrote them."""
        specs, secrets, _, _ = await self._fields()
        found = {}
        for raw_name, raw in specs.items():
            name = read_name(raw_name)
            public = read_spec(name, raw) if name else None
            whole = complete(public, secrets.get(raw_name)) if public else None
            if name and whole:
                found[name] = whole
        return found

    async def looks_complete(self) -> bool:
        """Whether the registry has as many entries as after the last `write`: a cheap check between two writes."""
        return await self._count() == self._lengths

    async def write(self, cameras: Mapping[str, CompleteCamera]) -> int:
        """Makes the registry hold these cameras and no others. Returns how many entries had to be changed."""
        held = await self._fields()
        specs, secrets, wanted, statuses = held
        desired = {name.encode(): camera for name, camera in cameras.items()}
        new_specs = {name: spec_value(camera) for name, camera in desired.items()}
        new_secrets = {name: value for name, camera in desired.items() if (value := secrets_value(camera)) is not None}
        costs = self._costs.note([camera.spec for camera in cameras.values()], _reports(statuses))
        new_wanted = {
            name: _wanted(camera, wanted.get(name), costs[camera.spec.name])
            for name, camera in desired.items()
            if camera.spec.enabled
        }
        new_wanted[KNOWN] = b"1"
        changed = 0
        # As a transaction: a worker that reads both finds a specification and a login of the same revision.
        async with self._client.pipeline(transaction=True) as pipe:
            for key, is_, should in (
                (keys.CAMERA_SECRETS, secrets, new_secrets),
                (keys.CAMERA_SPECS, specs, new_specs),
                (keys.CAMERA_WANTED, wanted, new_wanted),
                (keys.CAMERA_STATUS, statuses, {name: raw for name, raw in statuses.items() if name in desired}),
            ):
                gone = [name for name in is_ if name not in should]
                other = {name: value for name, value in should.items() if is_.get(name) != value}
                if gone:
                    pipe.hdel(key, *gone)
                if other:
                    fields: dict[Any, Any] = dict(other)
                    pipe.hset(key, mapping=fields)
                # A new cost does not count as a repair.
                changed += len(gone) + sum(not _same_revision(is_.get(name), other[name]) for name in other)
            if len(pipe):
                await pipe.execute()
        self._lengths = (len(new_specs), len(new_secrets), len(new_wanted))
        return changed

    async def _count(self) -> tuple[int, ...]:
        async with self._client.pipeline(transaction=False) as pipe:
            for key in _HASHES[:3]:
                pipe.hlen(key)
            return tuple(await pipe.execute())

    async def _fields(self) -> list[Mapping[bytes, bytes]]:
        """The fields of each hash. Removes a key that is not a hash, or is larger than ours."""
        async with self._client.pipeline(transaction=False) as pipe:
            for key in _HASHES:
                pipe.hlen(key)
            pipe.memory_usage(keys.CAMERA_STATUS, samples=0)
            *lengths, used = await pipe.execute(raise_on_error=False)
        sizes = {keys.CAMERA_STATUS: used}  # workers write it
        broken = [key for key, n in zip(_HASHES, lengths, strict=True) if n != 0 and not readable(n, sizes.get(key))]
        if broken:
            for length in lengths:
                if isinstance(length, Exception) and not str(length).startswith("WRONGTYPE"):
                    raise length
            await self._client.unlink(*broken)
        async with self._client.pipeline(transaction=False) as pipe:
            for key in _HASHES:
                pipe.hgetall(key)
            return [read_fields(reply) for reply in await pipe.execute()]


def _same_revision(before: object, after: object) -> bool:
    """Whether two values of `{cameras}:wanted` are of the same revision."""
    one, other = read_wanted(before), read_wanted(after)
    return one is not None and other is not None and one[0] == other[0]


def _reports(statuses: Mapping[bytes, bytes]) -> dict[str, CameraStatus]:
    """The statuses that are valid, by name."""
    pairs = ((read_name(name), read_status(raw)) for name, raw in statuses.items())
    return {name: status for name, status in pairs if name is not None and status is not None}


def _wanted(camera: CompleteCamera, raw: object, costs: tuple[float, bool]) -> bytes:
    """The value in `{cameras}:wanted`. A cost that has hardly changed stays as it is."""
    held, (cost, known) = read_wanted(raw), costs
    if held is not None and abs(held[1] - cost) <= max(_COST_FLOOR, _COST_STEP * held[1]):
        cost = held[1]
    return wanted_value(camera.revision, cost, known)
