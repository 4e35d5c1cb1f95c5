"""A result: all detections of one frame, and its JSON. `result_message` has the message around it.

Called by inference (encode) and relay (decode). The classes `Result` and `Detection` are the one source of their
fields: reader, JSON, JSON Schema, `openapi.json` and the dashboard's types are made from them. Only the reader and the
schema need pydantic.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from elastic_inference.domain.errors import InvalidResultError
from elastic_inference.domain.late import late, with_config
from elastic_inference.domain.result_message import RESULT_VERSION, check_size

if TYPE_CHECKING:
    import pydantic
    from pydantic_core import core_schema

    from elastic_inference.domain import fields as types
    from elastic_inference.domain import tracks as track_types
else:
    pydantic, core_schema = late("pydantic"), late("pydantic_core.core_schema")
    types = late("elastic_inference.domain.fields")
    track_types = late("elastic_inference.domain.tracks")


def _require_version(schema: dict[str, Any]) -> None:
    """Completes the JSON Schema: `v` has a default in Python, but every message must carry it."""
    schema["required"].insert(0, "v")


def _needs_version(document: Any) -> Any:
    """Refuses JSON without `v`, whose default is only for results made in Python."""
    if isinstance(document, dict) and document.get("v") != RESULT_VERSION:
        raise ValueError(f"expected version {RESULT_VERSION}")
    return document


@dataclass(frozen=True, slots=True)
class Detection:
    """One object or class found in a frame."""

    label: Annotated[str, pydantic.Field(description="Name of the class.")]
    label_id: Annotated[int, pydantic.Field(description="Number of the class in the model.")]
    confidence: Annotated[float, pydantic.Field(ge=0, le=1, description="0..1.")]
    box: Annotated[
        tuple[float, float, float, float],
        pydantic.Field(
            description="x_min, y_min, x_max, y_max, each 0..1 of the frame. A class of the whole frame has 0, 0, 1, 1."
        ),
    ]
    attributes: Annotated[
        types.Attributes,
        pydantic.Field(description="Additional facts about this detection, such as a track id. Absent while empty."),
    ] = field(default_factory=dict)


@with_config({"json_schema_extra": _require_version, "defer_build": True})
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All detections of one frame: the JSON part of the websocket's messages. Readers ignore unknown fields."""

    v: Annotated[Literal[1], pydantic.Field(description="Version of this format.")] = RESULT_VERSION
    stream: Annotated[types.StreamId, pydantic.Field(description="The stream's id.")]
    type: Annotated[types.Name, pydantic.Field(description="The inference type.")]
    model: Annotated[str, pydantic.Field(description="The model's name.")]
    precision: Annotated[str, pydantic.Field(description="The precision in which it runs: FP32, FP16, BF16, INT8 …")]
    device: Annotated[str, pydantic.Field(description="OpenVINO device.")]
    order: Annotated[types.Count, pydantic.Field(description="Rises with each frame of the stream, across restarts.")]
    seq: Annotated[types.Count | None, pydantic.Field(description="The producer's own count; null if it sent none.")]
    ts: Annotated[
        float | None,
        pydantic.Field(description="Time of capture by the producer's clock, Unix seconds; null if it sent none."),
    ]
    width: types.Pixels
    height: types.Pixels
    pod: Annotated[str, pydantic.Field(description="The pod that ran the inference.")]
    age_ms: Annotated[float, pydantic.Field(ge=0, description="From capture to arrival at the queue.")]
    queue_ms: Annotated[float, pydantic.Field(ge=0, description="From arrival at the queue to the pop.")]
    infer_ms: Annotated[float, pydantic.Field(ge=0, description="From the pop to the result.")]
    arrived_ms: Annotated[
        float | None,
        pydantic.Field(
            description="Arrival at the queue by the server's clock (that of HelloEvent and TimeEvent), Unix "
            "milliseconds. The server's time now minus this is the latency from arrival to paint. Absent or null if "
            "the pod does not know it."
        ),
    ] = None
    detections: Annotated[tuple[Detection, ...], pydantic.Field(description="In no particular order.")]
    attributes: Annotated[
        types.Attributes,
        pydantic.Field(description="Additional facts about this frame, such as its zones. Absent while empty."),
    ] = field(default_factory=dict)
    tracks: Annotated[
        tuple[track_types.FrameTracks, ...],
        pydantic.Field(
            max_length=64,
            description="Which objects the detections are, while an event service runs: of this frame, and of earlier "
            "ones whose tracks came too late for them. The websocket server adds it. Absent while empty.",
        ),
    ] = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, make: Callable[[Any], core_schema.CoreSchema]
    ) -> core_schema.CoreSchema:
        """Called by pydantic when it makes the reader."""
        return core_schema.no_info_before_validator_function(_needs_version, make(source))


def _content(part: Any) -> dict[str, Any]:
    """A dataclass in a result, such as its tracks."""
    return {each.name: getattr(part, each.name) for each in fields(part)}


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_content).encode
# Fields that are written in a way of their own: rounded, or absent while empty.
_WRITTEN = ("age_ms", "queue_ms", "infer_ms", "arrived_ms", "detections", "attributes", "tracks")
_OTHERS = tuple(each.name for each in fields(Result) if each.name not in _WRITTEN)
_others_of = operator.attrgetter(*_OTHERS)


def result_json(result: Result) -> bytes:
    """The result as compact UTF-8 JSON, without the image. Written without pydantic, which a pod need not load."""
    arrived = "null" if result.arrived_ms is None else f"{result.arrived_ms:.2f}"
    more = f',"attributes":{_encode(result.attributes)}' if result.attributes else ""
    if result.tracks:
        more += f',"tracks":{_encode(result.tracks)}'
    return (
        f"{_encode(dict(zip(_OTHERS, _others_of(result), strict=True)))[:-1]},"
        f'"age_ms":{result.age_ms:.2f},"queue_ms":{result.queue_ms:.2f},"infer_ms":{result.infer_ms:.2f},'
        f'"arrived_ms":{arrived},"detections":[{",".join(map(_detection_json, result.detections))}]{more}}}'
    ).encode()


def _detection_json(detection: Detection) -> str:
    x_min, y_min, x_max, y_max = detection.box
    more = f',"attributes":{_encode(detection.attributes)}' if detection.attributes else ""
    return (
        f'{{"label":{_encode(detection.label)},"label_id":{detection.label_id},"confidence":{detection.confidence:.4f},'
        f'"box":[{x_min:.5f},{y_min:.5f},{x_max:.5f},{y_max:.5f}]{more}}}'
    )


def parse_result(document: bytes | str) -> Result:
    """Parses the JSON of a `Result`. Raises InvalidResultError unless it is a complete result of version 1."""
    check_size(document)
    try:
        return _reader().validate_json(document)
    except pydantic.ValidationError as error:
        raise InvalidResultError(f"invalid result{types.first_mistake(error)}") from None


@cache
def _reader() -> pydantic.TypeAdapter[Result]:
    return pydantic.TypeAdapter(Result)
