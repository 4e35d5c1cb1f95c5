"""Points, polygons and lines; coordinates are 0..1 of the frame, with y downwards. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from elastic_inference.domain.events.rules import ReferencePoint
from elastic_inference.domain.events.tracker import Box

XY = tuple[float, float]
# A box that ends at the frame's edge is inside a zone that is drawn to this edge.
_EDGE = 0.0005
_FAR_EDGE = 1 - _EDGE


def reference(box: Box, kind: ReferencePoint) -> XY:
    """The reference point of a box, moved just inside the frame."""
    x = (box[0] + box[2]) / 2
    y = box[3] if kind is ReferencePoint.FOOT else (box[1] + box[3]) / 2
    return _within(x), _within(y)


def _within(value: float) -> float:
    return _EDGE if value < _EDGE else _FAR_EDGE if value > _FAR_EDGE else value


class Polygon:
    """A polygon whose last point joins its first; where it crosses itself, every second layer is outside."""

    def __init__(self, points: Sequence[Sequence[float]]) -> None:
        corners = [(point[0], point[1]) for point in points]
        self._edges = [(*a, *b) for a, b in zip(corners, [*corners[1:], corners[0]], strict=True)]
        self._left, self._right = min(x for x, _ in corners), max(x for x, _ in corners)
        self._top, self._bottom = min(y for _, y in corners), max(y for _, y in corners)

    def contains(self, point: XY) -> bool:
        """Whether a ray from the point crosses its edges an odd number of times."""
        x, y = point
        if not (self._left <= x <= self._right and self._top <= y <= self._bottom):
            return False
        inside = False
        for ax, ay, bx, by in self._edges:
            if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
                inside = not inside
        return inside

    def is_clear(self, point: XY, distance: float) -> bool:
        """Whether every edge is at least this far from the point."""
        x, y = point
        limit = distance * distance
        for ax, ay, bx, by in self._edges:
            dx, dy = bx - ax, by - ay
            length = dx * dx + dy * dy
            along = min(max(((x - ax) * dx + (y - ay) * dy) / length, 0.0), 1.0) if length else 0.0
            ex, ey = ax + along * dx - x, ay + along * dy - y
            if ex * ex + ey * ey < limit:
                return False
        return True


class DirectedLine:
    """A line from one point to another; right is the right-hand side looking along it."""

    def __init__(self, start: Sequence[float], end: Sequence[float]) -> None:
        self._x, self._y = start[0], start[1]
        self._dx, self._dy = end[0] - start[0], end[1] - start[1]
        self._length2 = self._dx * self._dx + self._dy * self._dy
        self._length = math.sqrt(self._length2)

    def right_of(self, point: XY) -> float:
        """How far the point is to the right of the infinite line; negative on the left."""
        return (self._dx * (point[1] - self._y) - self._dy * (point[0] - self._x)) / self._length

    def crossed(self, before: XY, after: XY) -> int:
        """1 if the step crosses the line to its right, -1 to its left, 0 if it does not cross."""
        from_right, to_right = self.right_of(before), self.right_of(after)
        if (from_right > 0) == (to_right > 0):
            return 0
        share = from_right / (from_right - to_right)
        x = before[0] + share * (after[0] - before[0]) - self._x
        y = before[1] + share * (after[1] - before[1]) - self._y
        along = x * self._dx + y * self._dy
        if not 0 <= along <= self._length2:
            return 0
        return 1 if to_right > 0 else -1
