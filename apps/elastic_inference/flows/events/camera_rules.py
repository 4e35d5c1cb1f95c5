"""Reads the zones and lines of cameras from the pool's registry. A camera outside the pool has none.

Called by `event_worker`. Read every few seconds for all cameras that it serves, and at once for a new one.
"""

from __future__ import annotations

from collections.abc import Iterable

import redis

from elastic_inference.adapters.camera_registry.camera_values import MAX_BYTES, read_spec
from elastic_inference.domain import keys
from elastic_inference.domain.events.rules import CameraRules

REFRESH_S = 2.0
_CHUNK = 100
NONE = CameraRules()


class RulesReader:
    """Reads and caches rules; not thread-safe. `refresh` and the first `of` of a name may raise REDIS_ERRORS."""

    def __init__(self, client: redis.Redis) -> None:
        """`client` is connected to the queue's Redis, to the server with the keys of `{cameras}`."""
        self._client = client
        # What was read of each name, and what it means: rules, and whether the camera of the pool is not paused.
        self._known: dict[str, tuple[bytes | None, CameraRules, bool | None]] = {}
        self._read_at_s = float("-inf")

    def of(self, name: str) -> CameraRules:
        """The rules of a camera."""
        if name not in self._known:
            self._read([name])
        return self._known[name][1]

    def standing(self, name: str) -> bool | None:
        """Whether a camera of the pool is not paused; None for one that is not in the pool."""
        if name not in self._known:
            self._read([name])
        return self._known[name][2]

    def read_again(self, names: Iterable[str]) -> None:
        """Reads these cameras, known or not."""
        self._read(list(names))

    def load(self, names: Iterable[str]) -> None:
        """Reads the cameras that are new."""
        self._read([name for name in dict.fromkeys(names) if name not in self._known])

    def refresh(self, served: Iterable[str], now_s: float) -> None:
        """Reads the rules of all served cameras again if it is time, and forgets those of other cameras."""
        if now_s - self._read_at_s < REFRESH_S:
            return
        names = set(served)
        for name in self._known.keys() - names:
            del self._known[name]
        self._read(sorted(names))
        self._read_at_s = now_s

    def _read(self, names: list[str]) -> None:
        for start in range(0, len(names), _CHUNK):
            some = names[start : start + _CHUNK]
            found: list[bytes | None] = self._client.hmget(keys.CAMERA_SPECS, some)  # type: ignore[assignment]
            for name, value in zip(some, found, strict=True):
                raw = value if value is None or len(value) <= MAX_BYTES else None
                known = self._known.get(name)
                if known is None or known[0] != raw:
                    camera = read_spec(name, raw) if raw is not None else None
                    enabled = camera.spec.enabled if camera else None if value is None else True
                    self._known[name] = (raw, camera.spec.rules if camera else NONE, enabled)
