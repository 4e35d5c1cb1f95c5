"""The present state, derived from events: which cameras work, how many objects each zone has. Pure; used by `mqtt`.

Subscribers that come later get it from retained topics, and Home Assistant finds it by discovery.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.domain.events.event import CameraChange, Event, EventKind, Phase

# Limits against events that never end: the oldest is removed first.
MAX_SUBJECTS, MAX_VISITS = 4096, 1000
_OTHER = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(slots=True)
class States:
    """Which cameras work, and the open visits of each (camera, zone). `base` is the first part of all topics."""

    base: str
    cameras: dict[str, bool] = field(default_factory=dict)
    visits: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)

    def take(self, event: Event) -> tuple[str, str | None] | None:
        """Applies an event. Returns the camera and the zone whose state it may have changed."""
        if event.kind is EventKind.CAMERA and event.state is not None:
            self.cameras[event.camera] = event.state is CameraChange.BACK
            _bound(self.cameras, MAX_SUBJECTS)
            return event.camera, None
        if event.kind is EventKind.ZONE and event.zone is not None:
            visits = self.visits.setdefault((event.camera, event.zone), {})
            if event.phase is Phase.END:
                visits.pop(event.id, None)
            else:
                visits[event.id] = None
                _bound(visits, MAX_VISITS)
            _bound(self.visits, MAX_SUBJECTS)
            return event.camera, event.zone
        return None

    def subjects(self) -> Iterator[tuple[str, str | None]]:
        """All cameras and zones with a known state."""
        yield from ((camera, None) for camera in self.cameras)
        yield from self.visits

    def messages(self, camera: str, zone: str | None) -> Iterator[tuple[str, str]]:
        """(topic, payload) of a state; all are retained."""
        if zone is None:
            yield f"{self.base}/cameras/{camera}/status", "online" if self.cameras[camera] else "offline"
            return
        count = len(self.visits.get((camera, zone), ()))
        yield f"{self.base}/zones/{camera}/{zone}/count", str(count)
        yield f"{self.base}/zones/{camera}/{zone}/occupied", "ON" if count else "OFF"

    def discovery(self, prefix: str, camera: str, zone: str | None) -> Iterator[tuple[str, str]]:
        """(topic, payload) by which Home Assistant finds a state."""
        device = {"identifiers": [_object(self.base, camera)], "name": camera, "manufacturer": "Elastic Inference"}
        common: dict[str, Any] = {"device": device, "availability_topic": f"{self.base}/status"}
        if zone is None:
            yield _config(
                f"{prefix}/binary_sensor/{_object(self.base, camera)}_status",
                common
                | {
                    "name": "Camera",
                    "device_class": "connectivity",
                    "state_topic": f"{self.base}/cameras/{camera}/status",
                    "payload_on": "online",
                    "payload_off": "offline",
                },
            )
            return
        name = _object(self.base, f"{camera}/{zone}")
        topic = f"{self.base}/zones/{camera}/{zone}"
        yield _config(
            f"{prefix}/binary_sensor/{name}_occupied",
            common | {"name": zone, "device_class": "occupancy", "state_topic": f"{topic}/occupied"},
        )
        yield _config(
            f"{prefix}/sensor/{name}_count",
            common | {"name": f"{zone} count", "state_class": "measurement", "state_topic": f"{topic}/count"},
        )


def event_topic(base: str, event: Event) -> str:
    """Where an event itself is published, not retained."""
    return f"{base}/events/{event.camera}/{event.kind.value}"


def _config(topic: str, document: dict[str, Any]) -> tuple[str, str]:
    _, domain, unique = topic.rsplit("/", 2)
    # Home Assistant before 2025.10 knows only `object_id`; since 2026.4 it knows only the other.
    names = {"unique_id": unique, "object_id": unique, "default_entity_id": f"{domain}.{unique}"}
    return f"{topic}/config", json.dumps(document | names, sort_keys=True)


def _object(base: str, text: str) -> str:
    """An id for discovery, which allows fewer characters than our names; different names stay different."""
    full = f"{base}/{text}"
    return f"{_OTHER.sub('_', full)[:80]}_{zlib.crc32(full.encode()):08x}"


def _bound(found: dict[Any, Any], maximum: int) -> None:
    while len(found) > maximum:
        del found[next(iter(found))]
