"""The rules that make a camera's events: its zones and lines. `CameraSpec` holds them, `StreamAnalysis` applies them.

Points are [x, y], each 0..1 of the frame, from its upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from elastic_inference.domain.fields import Name

MAX_ZONES = 32
MAX_LINES = 32
MAX_POINTS = 32
MAX_RULE_LABELS = 16
MAX_RULE_NAME = 64
MAX_DWELL_S = 86400
# Smaller zones are slips of the mouse; an object's position is not known that precisely.
_MIN_AREA = 0.0001
_MIN_LENGTH = 0.01


def _rounded(value: float) -> float:
    """A ten-thousandth of the frame is finer than anyone draws. All rules of a camera must fit into one message."""
    return round(value, 4)


Point = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1), AfterValidator(_rounded)], ...], Field(min_length=2, max_length=2)
]
# Names of all zones together must fit into the attributes of a result.
RuleName = Annotated[Name, Field(max_length=MAX_RULE_NAME)]
_Labels = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
    Field(max_length=MAX_RULE_LABELS, description="Only objects of these labels; empty for all."),
]
_CLOSED = ConfigDict(
    extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True, defer_build=True
)


class ReferencePoint(StrEnum):
    """The point that stands for a box. foot: the middle of its lower edge; centre: its centre."""

    FOOT = "foot"
    CENTRE = "centre"


class Zone(BaseModel):
    """A part of the frame: a polygon whose last point joins its first."""

    model_config = _CLOSED

    name: RuleName = Field(description="Its name, once for the camera.")
    points: tuple[Point, ...] = Field(min_length=3, max_length=MAX_POINTS, description="Its corners, in turn.")
    labels: _Labels = ()
    dwell_s: float | None = Field(
        None, gt=0, le=MAX_DWELL_S, description="An event for each object that stays for as many seconds."
    )
    point: ReferencePoint = Field(ReferencePoint.FOOT, description="The point of a box that must be inside.")

    @field_validator("points")
    @classmethod
    def _has_an_area(cls, points: tuple[Point, ...]) -> tuple[Point, ...]:
        if abs(area(points)) < _MIN_AREA:
            raise ValueError("expected a polygon that is not flat")
        return points


class Line(BaseModel):
    """A line that objects cross. Its direction defines *in*: from its left to its right."""

    model_config = ConfigDict(**_CLOSED, serialize_by_alias=True)

    name: RuleName = Field(description="Its name, once for the camera.")
    start: Point = Field(alias="from", description="Where it starts.")
    end: Point = Field(alias="to", description="Where it ends.")
    labels: _Labels = ()
    point: ReferencePoint = Field(ReferencePoint.FOOT, description="The point of a box that must cross.")

    @model_validator(mode="after")
    def _has_a_length(self) -> Line:
        if abs(self.start[0] - self.end[0]) + abs(self.start[1] - self.end[1]) < _MIN_LENGTH:
            raise ValueError("expected two points that are not the same")
        return self


def area(points: tuple[Point, ...]) -> float:
    """The area of a polygon; its sign is the direction in which the points go round."""
    following = (*points[1:], points[0])
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, following, strict=True)) / 2


def each_name_once(rules: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raises ValueError if two rules have the same name."""
    if len({rule.name for rule in rules}) != len(rules):
        raise ValueError("expected each name once")
    return rules


@dataclass(frozen=True, slots=True)
class CameraRules:
    """The zones and lines of one camera."""

    zones: tuple[Zone, ...] = ()
    lines: tuple[Line, ...] = ()
