"""What a camera's zones and lines have counted, in all and by minute: as Redis keeps it, and as REST shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from elastic_inference.domain.errors import InvalidCountsError
from elastic_inference.domain.events.rules import MAX_LINES, MAX_POINTS, MAX_RULE_NAME, MAX_ZONES, Point
from elastic_inference.domain.fields import Name, first_mistake, rounded

HISTORY_MINUTES = 60
MINUTE_MS = 60_000
# Labels of all zones and of all lines of a camera, over all of its types. More are counted in the metrics only.
MAX_SERIES = 96
MAX_COUNTS_BYTES = 256 * 1024
_MAX_LABEL = 128
_MAX_TIME_MS = 10**14
_OPEN = ConfigDict(extra="ignore", defer_build=True, serialize_by_alias=True)

_Total = Annotated[int, Field(ge=0, le=2**53)]
_Totals = Annotated[list[_Total], Field(max_length=HISTORY_MINUTES)]
_Seconds = Annotated[float, Field(ge=0, le=_MAX_TIME_MS, allow_inf_nan=False), rounded(1)]
_Time = Annotated[int, Field(ge=0, le=_MAX_TIME_MS)]
_Type = Annotated[Name, Field(description="The inference type.")]
_Label = Annotated[str, Field(max_length=_MAX_LABEL, description="The objects' label; `other` if there are too many.")]
_RuleName = Annotated[str, Field(min_length=1, max_length=MAX_RULE_NAME, description="Its name.")]


@with_config(_OPEN)
@dataclass(slots=True)
class ZoneMinutes:
    """What happened in each minute: a list for each figure, beside `minutes` of the document."""

    present: Annotated[_Totals, Field(description="The most that were inside at once.")]
    entered: Annotated[_Totals, Field(description="How many entered.")]
    left: Annotated[_Totals, Field(description="How many left.")]
    longest_s: Annotated[
        list[_Seconds],
        Field(max_length=HISTORY_MINUTES, description="The longest stay, up to then, of those who were inside."),
    ]


@with_config(_OPEN)
@dataclass(slots=True)
class ZoneSeries:
    """One label in one zone, as one inference type sees it."""

    type: _Type
    label: _Label
    present: Annotated[_Total, Field(description="Inside now.")]
    entered: Annotated[_Total, Field(description="How many have entered, in all.")]
    left: Annotated[_Total, Field(description="How many have left, in all.")]
    longest_s: Annotated[_Seconds, Field(description="The longest stay ever, seconds.")]
    by_minute: ZoneMinutes


@with_config(_OPEN)
@dataclass(slots=True)
class LineMinutes:
    """How many crossed in each minute: a list for each direction, beside `minutes` of the document."""

    inward: Annotated[_Totals, Field(alias="in", description="From its left to its right.")]
    outward: Annotated[_Totals, Field(alias="out", description="The other way.")]


@with_config(_OPEN)
@dataclass(slots=True)
class LineSeries:
    """One label at one line, as one inference type sees it."""

    type: _Type
    label: _Label
    inward: Annotated[_Total, Field(alias="in", description="How many have crossed from its left, in all.")]
    outward: Annotated[_Total, Field(alias="out", description="How many have crossed the other way, in all.")]
    by_minute: LineMinutes


@with_config(_OPEN)
@dataclass(slots=True)
class ZoneCount:
    """One zone. Without labels nobody was in it yet."""

    name: _RuleName
    labels: Annotated[list[ZoneSeries], Field(max_length=MAX_SERIES, description="One for each label.")]
    points: Annotated[
        tuple[Point, ...],
        Field(max_length=MAX_POINTS, description="Its corners; empty if the event service is of an older version."),
    ] = ()


@with_config(_OPEN)
@dataclass(slots=True)
class LineCount:
    """One line. Without labels nobody has crossed it yet."""

    name: _RuleName
    labels: Annotated[list[LineSeries], Field(max_length=MAX_SERIES, description="One for each label.")]
    points: Annotated[
        tuple[Point, ...],
        Field(max_length=2, description="Its start and its end; empty if the event service is of an older version."),
    ] = ()


@with_config(_OPEN)
@dataclass(slots=True)
class CameraCounts:
    """What the zones and lines of a camera have counted."""

    camera: Annotated[Name, Field(description="The camera's name.")]
    at_ms: Annotated[
        _Time | None,
        Field(description="When it was counted, by Redis' clock, Unix milliseconds; null if nothing was counted."),
    ]
    minutes: Annotated[
        list[_Time],
        Field(
            max_length=HISTORY_MINUTES,
            description="When each minute began, Unix milliseconds; the last one still runs. Minutes in which no "
            "result came are left out.",
        ),
    ]
    zones: Annotated[list[ZoneCount], Field(max_length=MAX_ZONES, description="Its zones.")]
    lines: Annotated[list[LineCount], Field(max_length=MAX_LINES, description="Its lines.")]


_COUNTS = TypeAdapter(CameraCounts)


def no_counts(camera: str) -> CameraCounts:
    """Those of a camera without zones and lines."""
    return CameraCounts(camera, None, [], [], [])


def counts_json(counts: CameraCounts) -> bytes:
    """The document as compact UTF-8 JSON."""
    return _COUNTS.dump_json(counts)


def parse_counts(document: bytes) -> CameraCounts:
    """The counts of their JSON. Raises InvalidCountsError for anything that an event worker would not write."""
    if len(document) > MAX_COUNTS_BYTES:
        raise InvalidCountsError(f"counts of {len(document)} bytes, at most {MAX_COUNTS_BYTES} are read")
    try:
        found = _COUNTS.validate_json(document)
    except ValidationError as error:
        raise InvalidCountsError(f"invalid counts{first_mistake(error)}"[:300]) from None
    _check_lists(found)
    return found


def _check_lists(found: CameraCounts) -> None:
    """Each list has one figure for each minute, and nothing is there twice."""
    minutes = found.minutes
    if any(each % MINUTE_MS for each in minutes) or not _rises(minutes):
        raise InvalidCountsError("invalid counts: expected minutes that rise")
    columns: list[Sequence[float]] = []
    series: list[tuple[str, str, str, str]] = []
    for zone in found.zones:
        for each in zone.labels:
            series.append(("zone", zone.name, each.type, each.label))
            points = each.by_minute
            columns += (points.present, points.entered, points.left, points.longest_s)
    for line in found.lines:
        for crossed in line.labels:
            series.append(("line", line.name, crossed.type, crossed.label))
            columns += (crossed.by_minute.inward, crossed.by_minute.outward)
    if any(len(each) != len(minutes) for each in columns):
        raise InvalidCountsError("invalid counts: expected one figure for each minute")
    for rules in (found.zones, found.lines):
        if len({rule.name for rule in rules}) != len(rules):
            raise InvalidCountsError("invalid counts: expected each name once")
    if len(set(series)) != len(series) or len(series) > 2 * MAX_SERIES:
        raise InvalidCountsError("invalid counts: expected each label once")


def _rises(minutes: list[int]) -> bool:
    before = -math.inf
    for each in minutes:
        if each <= before:
            return False
        before = each
    return True
