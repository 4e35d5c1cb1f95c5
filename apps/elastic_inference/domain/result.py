"""A result: all detections of one frame, and its JSON. `result_message` has the message around it.

Called by inference (encode) and relay (decode). The classes `Result` and `Detection` are the one source of their
fields: reader, JSON, JSON Schema, `openapi.json` and the dashboard's types are made from them.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator, with_config

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.fields import (
    Attributes,
    Count,
    Milliseconds,
    Name,
    Pixels,
    StreamId,
    first_mistake,
    rounded,
)
from elastic_inference.domain.result_message import RESULT_VERSION, check_size
from elastic_inference.domain.tracks import FrameTracks


def _require_version(schema: dict[str, Any]) -> None:
    """Completes the JSON Schema: `v` has a default in Python, but every message must carry it."""
    schema["required"].insert(0, "v")


_Edge = Annotated[float, rounded(5)]


@dataclass(frozen=True, slots=True)
class Detection:
    """One object or class found in a frame."""

    label: Annotated[str, Field(description="Name of the class.")]
    label_id: Annotated[int, Field(description="Number of the class in the model.")]
    confidence: Annotated[float, Field(ge=0, le=1, description="0..1."), rounded(4)]
    box: Annotated[
        tuple[_Edge, _Edge, _Edge, _Edge],
        Field(
            description="x_min, y_min, x_max, y_max, each 0..1 of the frame. A class of the whole frame has 0, 0, 1, 1."
        ),
    ]
    attributes: Annotated[
        Attributes, Field(description="Additional facts about this detection, such as a track id. Absent while empty.")
    ] = field(default_factory=dict)


@with_config(ConfigDict(json_schema_extra=_require_version, defer_build=True))
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All detections of one frame: the JSON part of the websocket's messages. Readers ignore unknown fields."""

    v: Annotated[Literal[1], Field(description="Version of this format.")] = RESULT_VERSION
    stream: Annotated[StreamId, Field(description="The stream's id.")]
    type: Annotated[Name, Field(description="The inference type.")]
    model: Annotated[str, Field(description="The model's name.")]
    precision: Annotated[str, Field(description="The precision in which it runs: FP32, FP16, BF16, INT8 …")]
    device: Annotated[str, Field(description="OpenVINO device.")]
    order: Annotated[Count, Field(description="Rises with each frame of the stream, across restarts.")]
    seq: Annotated[Count | None, Field(description="The producer's own count; null if it sent none.")]
    ts: Annotated[
        float | None, Field(description="Time of capture by the producer's clock, Unix seconds; null if it sent none.")
    ]
    width: Pixels
    height: Pixels
    pod: Annotated[str, Field(description="The pod that ran the inference.")]
    age_ms: Annotated[Milliseconds, Field(ge=0, description="From capture to arrival at the queue.")]
    queue_ms: Annotated[Milliseconds, Field(ge=0, description="From arrival at the queue to the pop.")]
    infer_ms: Annotated[Milliseconds, Field(ge=0, description="From the pop to the result.")]
    arrived_ms: Annotated[
        Milliseconds | None,
        Field(
            description="Arrival at the queue by the server's clock (that of HelloEvent and TimeEvent), Unix "
            "milliseconds. The server's time now minus this is the latency from arrival to paint. Absent or null if "
            "the pod does not know it."
        ),
    ] = None
    detections: Annotated[tuple[Detection, ...], Field(description="In no particular order.")]
    attributes: Annotated[
        Attributes, Field(description="Additional facts about this frame, such as its zones. Absent while empty.")
    ] = field(default_factory=dict)
    tracks: Annotated[
        tuple[FrameTracks, ...],
        Field(
            max_length=64,
            exclude_if=operator.not_,
            description="Which objects the detections are, while an event service runs: of this frame, and of earlier "
            "ones whose tracks came too late for them. The websocket server adds it. Absent while empty.",
        ),
    ] = ()

    @model_validator(mode="before")
    @classmethod
    def _needs_version(cls, fields: Any) -> Any:
        """Refuses JSON without `v`, whose default is only for results made in Python."""
        if isinstance(fields, dict) and fields.get("v") != RESULT_VERSION:
            raise ValueError(f"expected version {RESULT_VERSION}")
        return fields


_RESULT = TypeAdapter(Result)


def result_json(result: Result) -> bytes:
    """The result as compact UTF-8 JSON, without the image."""
    return _RESULT.dump_json(result)


def parse_result(document: bytes | str) -> Result:
    """Parses the JSON of a `Result`. Raises InvalidResultError unless it is a complete result of version 1."""
    check_size(document)
    try:
        return _RESULT.validate_json(document)
    except ValidationError as error:
        raise InvalidResultError(f"invalid result{first_mistake(error)}") from None
