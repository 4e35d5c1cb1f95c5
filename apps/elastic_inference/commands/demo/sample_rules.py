"""Zones and lines for the demo's own clips, so that it shows counts and events in its first minute.

Other videos have none until somebody draws some.
"""

from __future__ import annotations

from elastic_inference.domain.events.rules import CameraRules, Line, ReferencePoint, Zone

_CENTRE = ReferencePoint.CENTRE


def _zone(name: str, box: tuple[float, float, float, float], dwell_s: float) -> Zone:
    left, top, right, bottom = box
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Zone(name=name, points=corners, dwell_s=dwell_s, point=_CENTRE)


def _line(name: str, start: tuple[float, float], end: tuple[float, float]) -> Line:
    return Line.model_validate({"name": name, "from": start, "to": end, "point": _CENTRE})


# By the clip's name in the catalogue. In both clips people are cut off at the lower edge, so their centres count.
RULES = {
    # A cyclist waits at a post, right of the middle; a pedestrian walks from left to right.
    "bikes": CameraRules(
        (_zone("pavement", (0.52, 0.08, 0.98, 0.92), 1.0),),
        (_line("corner", (0.4, 0.95), (0.4, 0.05)),),
    ),
    # One face, which leaves the area only if the detector loses it.
    "carphone_pristine": CameraRules((_zone("seat", (0.2, 0.12, 0.72, 0.8), 3.0),)),
}
