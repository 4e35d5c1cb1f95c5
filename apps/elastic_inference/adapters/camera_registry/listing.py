"""What the gateway may read of the registry: everything but logins and requests. asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as aioredis

from elastic_inference.adapters.camera_registry.camera_values import (
    RegisteredCamera,
    read_spec,
    read_status,
    read_wanted,
    readable,
)
from elastic_inference.adapters.leases.lease_rows import read_leases
from elastic_inference.adapters.redis_input import read_fields, read_name
from elastic_inference.domain import keys
from elastic_inference.domain.camera import COST_ESTIMATE, CameraStatus
from elastic_inference.domain.leases import Lease, WorkerLoad

GROUP = "cameras"
_PROBLEM_CHARACTERS = 500
_HASHES = (
    keys.CAMERA_SPECS,
    keys.CAMERA_STATUS,
    keys.CAMERA_WANTED,
    keys.leases(GROUP),
    keys.lease_workers(GROUP),
)
# Source workers may write these; only the owner writes the others.
_BY_WORKERS = (keys.CAMERA_STATUS, keys.leases(GROUP), keys.lease_workers(GROUP))


@dataclass(frozen=True, slots=True)
class CameraRecords:
    """The registry at one moment. `owned`: an owner runs. `problem`: why it can't change cameras, or empty.

    `served` are the inference types that have a pod. They are not in the registry: the caller adds them, if known.
    """

    cameras: Mapping[str, RegisteredCamera] = field(default_factory=dict)
    statuses: Mapping[str, CameraStatus] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    leases: Mapping[str, Lease] = field(default_factory=dict)
    workers: Mapping[str, WorkerLoad] = field(default_factory=dict)
    served: frozenset[str] | None = None
    owned: bool = False
    problem: str = ""


class CameraListing:
    """Reads the registry. `read` raises REDIS_ERRORS when Redis is unavailable, else ResponseError."""

    def __init__(self, client: aioredis.Redis) -> None:
        """`client` is one of the queue's Redis, opened with a key of `{cameras}`; the caller closes it."""
        self._client = client
        # Specifications seldom change, and parsing them takes most of the time.
        self._specs: dict[str, tuple[bytes, RegisteredCamera | None]] = {}

    async def read(self) -> CameraRecords:
        """Everything, in two round trips."""
        async with self._client.pipeline(transaction=False) as pipe:
            for key in _HASHES:
                pipe.hlen(key)
            for key in _BY_WORKERS:
                pipe.memory_usage(key, samples=0)
            pipe.get(keys.CAMERA_OWNER)
            pipe.time()
            *found, owner, clock = await pipe.execute(raise_on_error=False)
        lengths, sizes = found[: len(_HASHES)], dict(zip(_BY_WORKERS, found[len(_HASHES) :], strict=True))
        for reply in (*found, owner, clock):
            if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
                raise reply
        small = [key for key, n in zip(_HASHES, lengths, strict=True) if readable(n, sizes.get(key))]
        hashes: dict[str, Mapping[bytes, bytes]] = {}
        if small:
            async with self._client.pipeline(transaction=False) as pipe:
                for key in small:
                    pipe.hgetall(key)
                replies = await pipe.execute(raise_on_error=False)
            hashes = {key: read_fields(reply) for key, reply in zip(small, replies, strict=True)}
        specs, statuses, wanted, leases, workers = (hashes.get(key, {}) for key in _HASHES)
        held, alive = read_leases(leases, workers, clock[0] + clock[1] / 1e6)
        return CameraRecords(
            cameras=self._read_specs(specs),
            statuses=_named(statuses, read_status),
            costs={name: found[1] for name, found in _named(wanted, read_wanted).items()},
            leases=held,
            workers=alive,
            owned=isinstance(owner, bytes),
            problem=_problem(owner),
        )

    def _read_specs(self, raw: Mapping[bytes, bytes]) -> dict[str, RegisteredCamera]:
        before, self._specs = self._specs, {}
        for raw_name, value in raw.items():
            name = read_name(raw_name)
            if name is not None:
                known = before.get(name)
                self._specs[name] = known if known and known[0] == value else (value, read_spec(name, value))
        return {name: camera for name, (_, camera) in self._specs.items() if camera is not None}


def cost_of(name: str, records: CameraRecords) -> float:
    """The measured or expected cost of a camera, in CPU seconds a second."""
    return records.costs.get(name, COST_ESTIMATE)


def _named(raw: Mapping[bytes, bytes], read: Any) -> dict[str, Any]:
    pairs = ((read_name(name), read(value)) for name, value in raw.items())
    return {name: value for name, value in pairs if name is not None and value is not None}


def _problem(owner: object) -> str:
    text = owner[: 4 * _PROBLEM_CHARACTERS].decode(errors="replace") if isinstance(owner, bytes) else ""
    return text.partition("\n")[2][:_PROBLEM_CHARACTERS]
