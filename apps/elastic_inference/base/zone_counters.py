"""Counters of zones and lines as Prometheus metrics. The event worker replaces all values about once a second.

Labels come from configuration (cameras, zones, lines) and from models (labels); their number is bounded here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MAX_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class ZoneRow:
    """The counters of one label in a zone; `longest_s` in seconds."""

    stream: str
    zone: str
    label: str
    present: int
    entered: int
    left: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class LineRow:
    """How often one label has crossed a line."""

    stream: str
    line: str
    label: str
    inward: int
    outward: int


class ZoneCounters(Collector):
    """The collector. Thread-safe: all values of a scrape are of the same moment."""

    def __init__(self) -> None:
        self._rows: tuple[Sequence[ZoneRow], Sequence[LineRow]] = ((), ())

    def show(self, zones: Sequence[ZoneRow], lines: Sequence[LineRow]) -> None:
        """Replaces the rows for the next scrape; at most MAX_ROWS of each kind."""
        self._rows = (zones[:MAX_ROWS], lines[:MAX_ROWS])

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape."""
        zones, lines = self._rows
        names = ("stream", "zone", "label")
        present = GaugeMetricFamily("ei_event_zone_present", "Objects in the zone now.", labels=names)
        entered = CounterMetricFamily("ei_event_zone_entered", "Objects that entered the zone.", labels=names)
        left = CounterMetricFamily("ei_event_zone_left", "Objects that left the zone.", labels=names)
        longest = GaugeMetricFamily("ei_event_zone_longest_seconds", "The longest stay in the zone.", labels=names)
        crossed = CounterMetricFamily(
            "ei_event_line_crossed",
            "Objects that crossed the line, by direction.",
            labels=("stream", "line", "label", "direction"),
        )
        for zone in zones:
            key = (zone.stream, zone.zone, zone.label)
            present.add_metric(key, zone.present)
            entered.add_metric(key, zone.entered)
            left.add_metric(key, zone.left)
            longest.add_metric(key, zone.longest_s)
        for line in lines:
            crossed.add_metric((line.stream, line.line, line.label, "in"), line.inward)
            crossed.add_metric((line.stream, line.line, line.label, "out"), line.outward)
        yield from (present, entered, left, longest, crossed)
