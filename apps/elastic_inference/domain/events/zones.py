"""Where one object is: its zones and the lines it crosses, with inertia. Pure; called by `StreamAnalysis`.

Boxes jitter, and a detector can be wrong for one frame. So a change counts only when it was seen twice, and the point
is clear of the edge or the change lasts for a while. A step over a line and back is not a crossing;
an object that pauses on the line crosses once, when it leaves it. Without detections nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from elastic_inference.domain.events.geometry import XY, DirectedLine, Polygon, reference
from elastic_inference.domain.events.rules import CameraRules, Line, ReferencePoint, Zone
from elastic_inference.domain.events.tracker import Box

# A change is clear of the edge by this share of the object's height, within these bounds.
_CLEAR = 0.05
_MIN_CLEAR = 0.004
_MAX_CLEAR = 0.03
# How long a change must last: clear of the edge, and near it.
CLEAR_S = 0.2
CLOSE_S = 1.0
_TWICE = 2


class Shapes:
    """A camera's rules as polygons and lines."""

    def __init__(self, rules: CameraRules) -> None:
        self.zones: dict[str, tuple[Zone, Polygon]] = {zone.name: (zone, Polygon(zone.points)) for zone in rules.zones}
        self.lines: dict[str, tuple[Line, DirectedLine]] = {
            line.name: (line, DirectedLine(line.start, line.end)) for line in rules.lines
        }


@dataclass(slots=True)
class ZonePresence:
    """One object and one zone."""

    inside: bool = False
    since_s: float = 0.0  # while it seems to have changed: since when
    sightings: int = 0  # in how many frames in a row it was seen changed
    clear: bool = False  # whether it was clear of the edge then

    def changes(self, inside: bool, now_s: float, is_clear: Callable[[], bool]) -> bool:
        """Whether the object has certainly entered or left."""
        if inside == self.inside:
            self.sightings, self.clear = 0, False
            return False
        if not self.sightings:
            self.since_s = now_s
        self.sightings += 1
        self.clear = self.clear or is_clear()
        if self.sightings < _TWICE or now_s - self.since_s < (CLEAR_S if self.clear else CLOSE_S):
            return False
        self.inside, self.sightings, self.clear = inside, 0, False
        return True


@dataclass(slots=True)
class Crossing:
    """One object and one line, while it may be crossing."""

    direction: int = 0  # 1 to the right, -1 to the left, 0 if there is no change
    since_s: float = 0.0
    sightings: int = 0  # in how many frames in a row it was seen clear of the line


@dataclass(frozen=True, slots=True)
class Moved:
    """What happened: a zone entered or left, or a line crossed, at a time that is known only afterwards."""

    zone: str | None
    line: str | None
    direction: int  # into the zone or to the right of the line: 1
    at_s: float


class Whereabouts:
    """All zones and lines of one object."""

    __slots__ = ("_inside", "box", "crossings", "presences")

    def __init__(self, box: Box) -> None:
        self.box = box
        self.presences: dict[str, ZonePresence] = {}
        self.crossings: dict[str, Crossing] = {}
        # What `inside` returns, until it changes.
        self._inside: tuple[str, ...] | None = None

    def see(self, shapes: Shapes, label: str, box: Box, now_s: float) -> list[Moved]:
        """Takes a new box of the object; returns the changes that are now certain."""
        before, self.box = self.box, box
        if not shapes.zones and not shapes.lines:
            return []
        clear = min(max(_CLEAR * (box[3] - box[1]), _MIN_CLEAR), _MAX_CLEAR)
        moved: list[Moved] = []
        # Most shapes use the same point of the box.
        points: dict[ReferencePoint, XY] = {}
        for name, (zone, polygon) in shapes.zones.items():
            presence = self.presences.get(name)
            if (presence is None or not presence.inside) and zone.labels and label not in zone.labels:
                continue
            point = points.get(zone.point) or points.setdefault(zone.point, reference(box, zone.point))
            inside = polygon.contains(point)
            if presence is None:
                if not inside:
                    continue
                presence = self.presences[name] = ZonePresence()
            if presence.changes(inside, now_s, is_clear=partial(polygon.is_clear, point, clear)):
                self._inside = None
                moved.append(Moved(name, None, 1 if inside else -1, presence.since_s))
        for name, (line, path) in shapes.lines.items():
            if not line.labels or label in line.labels:
                point = points.get(line.point) or points.setdefault(line.point, reference(box, line.point))
                moved += self._cross(name, path, (reference(before, line.point), point), clear, now_s)
        return moved

    def end(self) -> list[Moved]:
        """Ends the object: a line that it had just crossed counts."""
        return [
            Moved(None, name, crossing.direction, crossing.since_s)
            for name, crossing in self.crossings.items()
            if crossing.sightings
        ]

    def inside(self) -> tuple[str, ...]:
        """The names of the zones that it is in."""
        if self._inside is None:
            self._inside = tuple(name for name, presence in self.presences.items() if presence.inside)
        return self._inside

    def forget(self, zone: str) -> None:
        """Forgets a zone that no longer exists."""
        del self.presences[zone]
        self._inside = None

    def _cross(self, name: str, path: DirectedLine, step: tuple[XY, XY], clear: float, now_s: float) -> list[Moved]:
        direction, crossing = path.crossed(*step), self.crossings.get(name)
        if crossing is None:
            if not direction:
                return []
            crossing = self.crossings[name] = Crossing()
        if direction:
            crossing.direction = max(-1, min(1, crossing.direction + direction))
            crossing.since_s, crossing.sightings = now_s, 0
            if not crossing.direction:
                del self.crossings[name]
                return []
        if abs(path.right_of(step[1])) < clear:
            crossing.sightings = 0
            return []
        crossing.sightings += 1
        if crossing.sightings < _TWICE or now_s - crossing.since_s < CLEAR_S / 2:
            return []
        del self.crossings[name]
        return [Moved(None, name, crossing.direction, crossing.since_s)]

    def pack(self) -> list[Any]:
        """Everything, for `unpack`."""
        stays = [[name, each.inside, each.since_s, each.sightings, each.clear] for name, each in self.presences.items()]
        crossings = [[name, each.direction, each.since_s, each.sightings] for name, each in self.crossings.items()]
        return [self.box, stays, crossings]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Whereabouts:
        """The whereabouts of `pack`'s list."""
        box, stays, crossings = packed
        found = cls(box_of(box))
        found.presences = {str(name): ZonePresence(*rest) for name, *rest in stays}
        found.crossings = {str(name): Crossing(*rest) for name, *rest in crossings}
        return found


def box_of(values: Iterable[Any]) -> Box:
    """Four numbers as a box. Raises TypeError or ValueError."""
    a, b, c, d = (float(value) for value in values)
    return (a, b, c, d)
