"""Which cameras give frames: makes the events `lost` and `back`. Pure; one for each partition.

A camera gives frames while results of it come, or while its producer reports that it does: without pods there are no
results, and no camera is lost for that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgpack

from elastic_inference.domain import keys
from elastic_inference.domain.events.event import MAX_TIME_MS, CameraChange, Event, EventKind, Phase

MAX_WATCHED = 2048
_VERSION = 1


class CameraReport(Enum):
    """What a producer says of its camera."""

    LIVE = "it gives frames"
    SILENT = "it gives none"
    MISSING = "no producer says anything"
    UNKNOWN = "nobody could be asked"


@dataclass(frozen=True, slots=True)
class Sight:
    """Of a camera without results. `pods`: the missing results are the camera's own, since pods give others."""

    report: CameraReport
    pods: bool


@dataclass(slots=True)
class _Camera:
    pool: bool = False
    lost_ms: float | None = None  # since when it is lost
    live_ms: float = 0.0  # when it last gave frames


class CameraWatch:
    """Not thread-safe. `now_s` is monotonic, `now_ms` is Redis' clock."""

    def __init__(self, bound_s: float, now_s: float, saved: bytes = b"") -> None:
        """`saved`: what a former worker knew; if it cannot be read, cameras are known once they give results."""
        self.changed = False
        self._bound_ms = bound_s * 1000
        self._contact_s = now_s
        self._cameras = _read(saved)

    @property
    def names(self) -> Collection[str]:
        """The cameras that it follows."""
        return self._cameras.keys()

    def restart(self, now_s: float) -> None:
        """Redis was unavailable: what did not come meanwhile says nothing of the cameras."""
        self._contact_s = now_s

    def quiet(self, seen: Mapping[str, float], now_ms: float) -> list[str]:
        """The cameras of which `look` needs a `Sight`. `seen`: when the newest result of each camera came."""
        return [
            name
            for name, camera in self._cameras.items()
            if camera.lost_ms is not None or now_ms - seen.get(name, 0.0) >= self._bound_ms / 2
        ]

    def look(
        self,
        seen: Mapping[str, float],
        sights: Mapping[str, Sight],
        standing: Callable[[str], bool | None],
        now_ms: float,
        now_s: float,
    ) -> list[Event]:
        """What has changed. `standing`: True for a camera of the pool, False for a paused one, None for all others."""
        events = []
        self._follow(seen, standing, now_ms)
        for name, camera in list(self._cameras.items()):
            newest = seen.get(name, 0.0)
            camera.live_ms = max(camera.live_ms, newest)
            if now_ms - newest < self._bound_ms:
                events += self._back(name, camera, newest)
                continue
            sight = sights.get(name)
            if sight is None or sight.report is CameraReport.UNKNOWN:
                continue
            if sight.report is CameraReport.LIVE:
                camera.live_ms = now_ms
                events += self._back(name, camera, now_ms)
            elif (now_s - self._contact_s) * 1000 >= self._bound_ms:
                events += self._judge(name, camera, sight, standing(name), now_ms)
        return events

    def state(self) -> bytes:
        """What the next worker needs to continue."""
        rows = {name: [each.pool, each.lost_ms] for name, each in self._cameras.items()}
        return bytes(msgpack.packb([_VERSION, rows]))

    def _follow(self, seen: Mapping[str, float], standing: Callable[[str], bool | None], now_ms: float) -> None:
        """New cameras are those that give results now; those that are no longer followed are forgotten."""
        for name, newest in seen.items():
            camera = self._cameras.get(name)
            if camera is None and now_ms - newest < self._bound_ms and len(self._cameras) < MAX_WATCHED:
                camera = self._cameras[name] = _Camera()
                self.changed = True
            if camera is not None and not camera.pool and standing(name) is not None:
                camera.pool = self.changed = True
        for name in [each for each, camera in self._cameras.items() if each not in seen and camera.lost_ms is None]:
            self._forget(name)

    def _judge(self, name: str, camera: _Camera, sight: Sight, standing: bool | None, now_ms: float) -> list[Event]:
        """For a camera that gives nothing."""
        if standing is False or (standing is None and camera.pool):
            # Somebody has paused or removed it.
            self._forget(name)
            return [] if camera.lost_ms is None else [_event(name, camera.lost_ms, now_ms, None)]
        nobody_says = sight.report is CameraReport.MISSING and standing is None and not sight.pods
        if camera.lost_ms is not None or now_ms - camera.live_ms < self._bound_ms or nobody_says:
            return []
        camera.lost_ms = camera.live_ms
        self.changed = True
        return [_event(name, camera.lost_ms, now_ms, CameraChange.LOST)]

    def _back(self, name: str, camera: _Camera, at_ms: float) -> list[Event]:
        lost_ms, camera.lost_ms = camera.lost_ms, None
        if lost_ms is None:
            return []
        self.changed = True
        return [_event(name, lost_ms, at_ms, CameraChange.BACK)]

    def _forget(self, name: str) -> None:
        del self._cameras[name]
        self.changed = True


def _event(name: str, lost_ms: float, at_ms: float, state: CameraChange | None) -> Event:
    """One event for each time that it was lost: its last frame makes the id, so that all workers make the same."""
    lost = state is CameraChange.LOST
    at_ms = max(at_ms, lost_ms)
    return Event(
        id=f"{name}/{lost_ms:.0f}-camera",
        rev=1 if lost else 2,
        kind=EventKind.CAMERA,
        phase=Phase.BEGIN if lost else Phase.END,
        camera=name,
        state=state,
        began_ms=lost_ms,
        at_ms=at_ms,
        ended_ms=None if lost else at_ms,
        duration_s=(at_ms - lost_ms) / 1000,
    )


def _read(saved: bytes) -> dict[str, _Camera]:
    try:
        document: Any = msgpack.unpackb(saved, max_map_len=MAX_WATCHED)
        version, rows = document
        return {name: _camera(name, *row) for name, row in rows.items()} if version == _VERSION else {}
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException):
        return {}


def _camera(name: object, pool: object, lost_ms: object) -> _Camera:
    if not isinstance(name, str) or not keys.is_name(name) or not isinstance(pool, bool):
        raise ValueError("expected a name, and whether it is of the pool")
    if lost_ms is None:
        return _Camera(pool)
    if not isinstance(lost_ms, float) or not 0 <= lost_ms <= MAX_TIME_MS:
        raise ValueError("expected a time")
    return _Camera(pool, lost_ms, lost_ms)
