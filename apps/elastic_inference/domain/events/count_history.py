"""The counters of one camera over the last hour, minute by minute, with their totals. Pure.

What the analyses of the camera's streams count is looked at about once a second. An increase belongs to the minute in
which it is seen; so an event worker that takes over neither loses nor repeats one.
"""

from __future__ import annotations

from collections.abc import Iterable

from elastic_inference.domain.events.camera_counts import (
    HISTORY_MINUTES,
    MAX_SERIES,
    MINUTE_MS,
    CameraCounts,
    LineCount,
    LineMinutes,
    LineSeries,
    ZoneCount,
    ZoneMinutes,
    ZoneSeries,
)
from elastic_inference.domain.events.counts import Counts, LabelCounts, LineCounts
from elastic_inference.domain.events.rules import CameraRules, Point

# Name of the zone or line, inference type, label.
_Key = tuple[str, str, str]
# The points of all zones, and of all lines, by name.
_Shapes = tuple[dict[str, tuple[Point, ...]], dict[str, tuple[Point, ...]]]


class CountHistory:
    """The counters of one camera, minute by minute. Not thread-safe. `now_ms` is Redis' clock."""

    def __init__(self, camera: str, saved: CameraCounts | None = None) -> None:
        """`saved` is the history that another worker has saved."""
        self.camera = camera
        # Whether it differs from what is saved.
        self.changed = saved is None
        self._at_ms = 0
        self._minutes: list[int] = []
        self._zones: dict[_Key, ZoneSeries] = {}
        self._lines: dict[_Key, LineSeries] = {}
        self._shapes: _Shapes = ({}, {})
        self._rules = CameraRules()
        self._types: set[str] = set()
        if saved is not None:
            self._restore(saved)

    def resume(self, kind: str, counts: Counts) -> None:
        """Restores the counters of a stream whose own state was lost, from the saved totals."""
        for (zone, own, label), row in self._zones.items():
            if own == kind:
                seen = counts.zone(zone, label)
                seen.entered, seen.left = max(seen.entered, row.entered), max(seen.left, row.left)
                seen.longest_s = max(seen.longest_s, row.longest_s)
        for (line, own, label), crossed in self._lines.items():
            if own == kind:
                found = counts.line(line, label)
                found.inward = max(found.inward, crossed.inward)
                found.outward = max(found.outward, crossed.outward)

    def sample(self, rules: CameraRules, streams: Iterable[tuple[str, Counts]], now_ms: float, runs: bool) -> None:
        """Takes the counters of each of its streams, by type. `runs`: results come, so a minute may begin."""
        own = list(streams)
        self._keep(rules, {kind for kind, _ in own})
        if runs or not self._minutes:
            self._roll(max(0, int(now_ms // MINUTE_MS)))
        self._at_ms = max(0, int(now_ms))
        for kind, counts in own:
            for zone, labels in counts.zones.items():
                for label, seen in labels.items():
                    self._see(zone, kind, label, seen)
            for line, by_label in counts.lines.items():
                for label, crossed in by_label.items():
                    self._cross(line, kind, label, crossed)

    def document(self) -> CameraCounts:
        """Everything. Not a copy: write it at once."""
        zones = {name: ZoneCount(name, [], points) for name, points in self._shapes[0].items()}
        for (name, _, _), seen in self._zones.items():
            zones.setdefault(name, ZoneCount(name, [])).labels.append(seen)
        lines = {name: LineCount(name, [], points) for name, points in self._shapes[1].items()}
        for (name, _, _), crossed in self._lines.items():
            lines.setdefault(name, LineCount(name, [])).labels.append(crossed)
        minutes = [each * MINUTE_MS for each in self._minutes]
        return CameraCounts(self.camera, self._at_ms, minutes, list(zones.values()), list(lines.values()))

    def _restore(self, saved: CameraCounts) -> None:
        self._at_ms = saved.at_ms or 0
        self._minutes = [each // MINUTE_MS for each in saved.minutes]
        self._shapes = (
            {each.name: each.points for each in saved.zones},
            {each.name: each.points for each in saved.lines},
        )
        self._zones = {(zone.name, each.type, each.label): each for zone in saved.zones for each in zone.labels}
        self._lines = {(line.name, each.type, each.label): each for line in saved.lines for each in line.labels}

    def _keep(self, rules: CameraRules, types: set[str]) -> None:
        """Forgets zones and lines that no longer exist, and types that nobody infers any more."""
        if rules == self._rules and types == self._types:
            return
        self._rules, self._types = rules, types
        shapes: _Shapes = (
            {each.name: each.points for each in rules.zones},
            {each.name: (each.start, each.end) for each in rules.lines},
        )
        zones = {key: row for key, row in self._zones.items() if key[0] in shapes[0] and key[1] in types}
        lines = {key: row for key, row in self._lines.items() if key[0] in shapes[1] and key[1] in types}
        self.changed |= shapes != self._shapes or len(zones) < len(self._zones) or len(lines) < len(self._lines)
        self._shapes, self._zones, self._lines = shapes, zones, lines

    def _roll(self, minute: int) -> None:
        """The minute begins, if it is not the newest one already."""
        if self._minutes and minute < self._minutes[-1] - HISTORY_MINUTES:
            # The clock was set back for good; for less than an hour the newest minute goes on until it has caught up.
            self._drop(len(self._minutes))
        if self._minutes and minute <= self._minutes[-1]:
            return
        self._minutes.append(minute)
        for column in self._columns():
            column.append(0)
        self._drop(sum(each <= minute - HISTORY_MINUTES for each in self._minutes))
        self.changed = True

    def _drop(self, count: int) -> None:
        """Forgets the oldest minutes."""
        if count:
            del self._minutes[:count]
            for column in self._columns():
                del column[:count]

    def _columns(self) -> Iterable[list[int] | list[float]]:
        for seen in self._zones.values():
            points = seen.by_minute
            yield from (points.present, points.entered, points.left, points.longest_s)
        for crossed in self._lines.values():
            yield from (crossed.by_minute.inward, crossed.by_minute.outward)

    def _see(self, zone: str, kind: str, label: str, seen: LabelCounts) -> None:
        peak, stay_s = seen.take()
        row = self._zones.get((zone, kind, label))
        if row is None:
            if zone not in self._shapes[0] or len(self._zones) >= MAX_SERIES:
                return
            zeros = len(self._minutes)
            points = ZoneMinutes([0] * zeros, [0] * zeros, [0] * zeros, [0.0] * zeros)
            row = self._zones[zone, kind, label] = ZoneSeries(kind, label, 0, 0, 0, 0.0, points)
            self.changed = True
        points = row.by_minute
        entered, left = max(0, seen.entered - row.entered), max(0, seen.left - row.left)
        present, longest_s = max(0, seen.present), max(row.longest_s, seen.longest_s)
        stay_s = max(points.longest_s[-1], stay_s)
        peak = max(points.present[-1], peak)
        if (
            entered
            or left
            or (present, longest_s, stay_s, peak)
            != (row.present, row.longest_s, points.longest_s[-1], points.present[-1])
        ):
            self.changed = True
            row.entered += entered
            row.left += left
            row.present, row.longest_s = present, longest_s
            points.present[-1] = peak
            points.entered[-1] += entered
            points.left[-1] += left
            points.longest_s[-1] = stay_s

    def _cross(self, line: str, kind: str, label: str, crossed: LineCounts) -> None:
        row = self._lines.get((line, kind, label))
        if row is None:
            if line not in self._shapes[1] or len(self._lines) >= MAX_SERIES:
                return
            zeros = len(self._minutes)
            row = self._lines[line, kind, label] = LineSeries(kind, label, 0, 0, LineMinutes([0] * zeros, [0] * zeros))
            self.changed = True
        inward, outward = max(0, crossed.inward - row.inward), max(0, crossed.outward - row.outward)
        if inward or outward:
            self.changed = True
            row.inward += inward
            row.outward += outward
            row.by_minute.inward[-1] += inward
            row.by_minute.outward[-1] += outward
