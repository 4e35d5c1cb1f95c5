"""An event: something that happened in front of a camera, or to it. Its JSON is what every consumer gets.

Made by `StreamAnalysis` and by the event service; read by sinks and the gateway. The class `Event` is the one source of
its fields: reader, JSON and JSON Schema are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from elastic_inference.domain.errors import InvalidEventError
from elastic_inference.domain.fields import Milliseconds, Name, StreamId, first_mistake, rounded

EVENT_VERSION: Final = 1
MAX_EVENT_JSON_BYTES = 64 * 1024
# The year 5138. Later times can't be written as dates everywhere.
MAX_TIME_MS = 1e14
_Edge = Annotated[float, Field(allow_inf_nan=False), rounded(5)]
_Time = Annotated[Milliseconds, Field(ge=0, le=MAX_TIME_MS)]
_Confidence = Annotated[float, Field(ge=0, le=1), rounded(4)]


class EventKind(StrEnum):
    """What an event is about: an object, its visit to a zone, a line it crossed, its long stay; or a lost camera."""

    OBJECT = "object"
    ZONE = "zone"
    LINE = "line"
    DWELL = "dwell"
    CAMERA = "camera"


class Phase(StrEnum):
    """The phase of an event's life. An event without duration, such as a crossing, has only `end`."""

    BEGIN = "begin"
    UPDATE = "update"
    END = "end"


class Direction(StrEnum):
    """in: from the left of a line to its right, looking from its start to its end."""

    IN = "in"
    OUT = "out"


class CameraChange(StrEnum):
    """lost: the source delivers nothing; back: it delivers again. A missing pod does not make a camera lost."""

    LOST = "lost"
    BACK = "back"


def _require_all(schema: dict[str, Any]) -> None:
    """Completes the JSON Schema: every event carries all fields, also those that have a default in Python."""
    schema["required"] = list(schema["properties"])


@with_config(ConfigDict(json_schema_extra=_require_all, defer_build=True))
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One revision of an event. Readers ignore unknown fields, and recognise repeats by `id` and `rev`."""

    v: Annotated[Literal[1], Field(description="Version of this format.")] = EVENT_VERSION
    id: Annotated[
        str,
        Field(
            max_length=600,
            description="Its id, the same in all its revisions, and the same again if a worker makes it twice: "
            "<stream>/<epoch>-<order>-<rule>-<n>.",
        ),
    ]
    rev: Annotated[int, Field(ge=1, le=2**53, description="Rises with each phase of this event.")]
    kind: EventKind
    phase: Phase
    camera: Annotated[Name, Field(description="The stream's name.")]
    stream: Annotated[StreamId | None, Field(description="The stream's id; null for what concerns the camera.")] = None
    type: Annotated[Name | None, Field(description="The inference type; null for what concerns the camera.")] = None
    label: Annotated[str | None, Field(description="Name of the object's class.")] = None
    track: Annotated[str | None, Field(description="The object's track: <stream>/<epoch>-<n>, never used twice.")] = (
        None
    )
    zone: Annotated[Name | None, Field(description="The zone or the line.")] = None
    direction: Annotated[Direction | None, Field(description="In which direction the object crossed the line.")] = None
    state: Annotated[CameraChange | None, Field(description="What happened to the camera.")] = None
    confidence: Annotated[_Confidence | None, Field(description="Of the newest detection, 0..1.")] = None
    top_confidence: Annotated[_Confidence | None, Field(description="The highest since the event began, 0..1.")] = None
    box: Annotated[
        tuple[_Edge, _Edge, _Edge, _Edge] | None,
        Field(description="Where the object was last seen: x_min, y_min, x_max, y_max, each 0..1 of the frame."),
    ] = None
    zones: Annotated[tuple[str, ...], Field(description="The zones that the object is in now.")] = ()
    began_ms: Annotated[_Time, Field(description="When it began, by Redis' clock, Unix milliseconds.")]
    at_ms: Annotated[_Time, Field(description="When what this revision says happened, by the same clock.")]
    ended_ms: Annotated[_Time | None, Field(description="When it ended; null before that.")] = None
    duration_s: Annotated[
        float, Field(ge=0, le=MAX_TIME_MS, description="From its beginning to `at_ms`, seconds."), rounded(3)
    ] = 0.0
    snapshot: Annotated[
        str | None,
        Field(description="Where its image is: a path at the gateway, or a URL if the event service has PUBLIC_URL."),
    ] = None
    snapshot_box: Annotated[
        tuple[_Edge, _Edge, _Edge, _Edge] | None, Field(description="Where the object is in that image.")
    ] = None
    snapshot_reason: Annotated[str | None, Field(description="Why it has no image, as a sentence.")] = None


_EVENT = TypeAdapter(Event)


def event_json(event: Event) -> bytes:
    """The event as compact UTF-8 JSON."""
    return _EVENT.dump_json(event)


def parse_event(document: bytes | str) -> Event:
    """Parses the JSON of an `Event`. Raises InvalidEventError unless it is a complete event of version 1."""
    if len(document) > MAX_EVENT_JSON_BYTES:
        raise InvalidEventError(f"an event of {len(document)} bytes, at most {MAX_EVENT_JSON_BYTES} are read")
    try:
        return _EVENT.validate_json(document)
    except ValidationError as error:
        raise InvalidEventError(f"invalid event{first_mistake(error)}") from None
