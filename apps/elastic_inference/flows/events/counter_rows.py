"""The counters of a stream as rows of metrics. Pure; called by `event_worker`."""

from __future__ import annotations

from elastic_inference.base.zone_counters import LineRow, ZoneRow
from elastic_inference.domain.events.counts import Counts


def add_counts(stream: str, counts: Counts, zones: list[ZoneRow], lines: list[LineRow]) -> None:
    """Adds what a stream has counted to the rows."""
    for zone, labels in counts.zones.items():
        for label, seen in labels.items():
            zones.append(ZoneRow(stream, zone, label, seen.present, seen.entered, seen.left, seen.longest_s))
    for line, by_label in counts.lines.items():
        for label, crossed in by_label.items():
            lines.append(LineRow(stream, line, label, crossed.inward, crossed.outward))
