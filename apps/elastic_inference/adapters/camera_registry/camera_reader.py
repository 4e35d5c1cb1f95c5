"""A source worker's access to the registry: reads cameras, writes statuses. Synchronous.

Called by the supervisor of the camera pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import redis
from redis.exceptions import OutOfMemoryError, ResponseError

from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, complete, read_spec, status_value
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraStatus

# Cameras read in a round trip: at most 128 kB each.
_CHUNK = 100


class CameraReader:
    """Cameras with their logins, for a client that may read both. Raises REDIS_ERRORS if Redis is unavailable."""

    def __init__(self, client: redis.Redis) -> None:
        """`client` is one of the queue's Redis, opened with a key of `{cameras}`."""
        self._client = client

    def read(self, names: Iterable[str]) -> dict[str, CompleteCamera]:
        """These cameras, as far as they exist. One that is being changed may be missing for a moment.

        A worker reads only those whose revision is new to it.
        """
        wanted = [name for name in names if keys.is_name(name)]
        found: dict[str, CompleteCamera] = {}
        for start in range(0, len(wanted), _CHUNK):
            some = wanted[start : start + _CHUNK]
            # Without a transaction: `complete` sees whether a specification and its login are of the same revision.
            with self._client.pipeline(transaction=False) as pipe:
                pipe.hmget(keys.CAMERA_SPECS, some)
                pipe.hmget(keys.CAMERA_SECRETS, some)
                specs, secrets = pipe.execute()
            for name, raw_spec, raw_secrets in zip(some, specs, secrets, strict=True):
                camera = read_spec(name, raw_spec)
                whole = complete(camera, raw_secrets) if camera else None
                if whole is not None:
                    found[name] = whole
        return found

    def write_statuses(self, statuses: Mapping[str, CameraStatus]) -> None:
        """Writes what the worker reports about the cameras that it holds. A key of the wrong type is replaced."""
        if not statuses:
            return
        values: dict[Any, Any] = {name: status_value(status) for name, status in statuses.items()}
        try:
            self._client.hset(keys.CAMERA_STATUS, mapping=values)
        except OutOfMemoryError:
            return  # a report can wait
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            with self._client.pipeline(transaction=True) as pipe:
                pipe.unlink(keys.CAMERA_STATUS)
                pipe.hset(keys.CAMERA_STATUS, mapping=values)
                pipe.execute()
