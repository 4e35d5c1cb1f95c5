"""A result: all detections of one frame, its JSON and its message.

Called by inference (encode), relay and gateway (decode). Pure: standard library only.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.domain.errors import InvalidResultError

RESULT_VERSION = 1
MAX_RESULT_JSON_BYTES = 1024 * 1024
_LENGTH = struct.Struct(">I")
# `json.dumps` with options makes a new encoder at each call, a third of its time here.
_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing found. `box` is x_min, y_min, x_max, y_max, each 0..1 of the frame; whole-frame classes use 0,0,1,1."""

    label: str
    label_id: int
    confidence: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Result:
    """All detections of one frame, with where and how long it was on its way.

    Times are in milliseconds: `age_ms` capture to push, `queue_ms` push to pop, `infer_ms` pop to result.
    `seq` and `ts` are the producer's own, None where it gave none. `width` and `height` are the JPEG's.
    `arrived_ms` is the arrival at the queue by the Redis server's clock (Unix milliseconds): what a viewer takes its
    latency from; None where it is not known.
    """

    stream: str
    type: str
    model: str
    precision: str
    device: str
    order: int
    seq: int | None
    ts: float | None
    width: int
    height: int
    pod: str
    age_ms: float
    queue_ms: float
    infer_ms: float
    detections: tuple[Detection, ...] = field(default=())
    arrived_ms: float | None = None


def result_json(result: Result) -> bytes:
    """The result as compact UTF-8 JSON, without the picture."""
    document = {
        "v": RESULT_VERSION,
        "stream": result.stream,
        "type": result.type,
        "model": result.model,
        "precision": result.precision,
        "device": result.device,
        "order": result.order,
        "seq": result.seq,
        "ts": result.ts,
        "width": result.width,
        "height": result.height,
        "pod": result.pod,
        "age_ms": round(result.age_ms, 2),
        "queue_ms": round(result.queue_ms, 2),
        "infer_ms": round(result.infer_ms, 2),
        "arrived_ms": None if result.arrived_ms is None else round(result.arrived_ms, 2),
        "detections": [
            {
                "label": found.label,
                "label_id": found.label_id,
                "confidence": round(found.confidence, 4),
                "box": [round(edge, 5) for edge in found.box],
            }
            for found in result.detections
        ],
    }
    return _ENCODE(document).encode()


def join_message(document: bytes, jpeg: bytes) -> bytes:
    """The binary result message: 4 bytes big-endian length, the JSON, the original JPEG."""
    return b"".join((_LENGTH.pack(len(document)), document, jpeg))


def split_message(message: bytes | memoryview) -> tuple[bytes, memoryview]:
    """(JSON, JPEG) of a result message; the JPEG is a view, not a copy. Raises InvalidResultError."""
    if len(message) < _LENGTH.size:
        raise InvalidResultError(f"a result message of {len(message)} bytes, expected at least {_LENGTH.size}")
    (length,) = _LENGTH.unpack_from(message)
    if length > MAX_RESULT_JSON_BYTES or _LENGTH.size + length > len(message):
        raise InvalidResultError(f"a result message of {len(message)} bytes says its JSON has {length}")
    view = memoryview(message)
    return bytes(view[4 : 4 + length]), view[4 + length :]


def parse_result(document: bytes | str) -> Result:
    """A `Result` of its JSON. Raises InvalidResultError for anything that is not version 1 in full."""
    try:
        fields: Any = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise InvalidResultError(f"a result that is not JSON: {error}") from None
    if not isinstance(fields, dict) or fields.get("v") != RESULT_VERSION:
        raise InvalidResultError(f"a result of another version than {RESULT_VERSION}")
    try:
        return Result(
            stream=str(fields["stream"]),
            type=str(fields["type"]),
            model=str(fields["model"]),
            precision=str(fields["precision"]),
            device=str(fields["device"]),
            order=int(fields["order"]),
            seq=None if fields.get("seq") is None else int(fields["seq"]),
            ts=None if fields.get("ts") is None else float(fields["ts"]),
            width=int(fields["width"]),
            height=int(fields["height"]),
            pod=str(fields["pod"]),
            age_ms=float(fields["age_ms"]),
            queue_ms=float(fields["queue_ms"]),
            infer_ms=float(fields["infer_ms"]),
            detections=tuple(_detection(found) for found in fields["detections"]),
            arrived_ms=None if fields.get("arrived_ms") is None else float(fields["arrived_ms"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidResultError(f"a result with a missing or wrong field: {error!r}") from None


def _detection(fields: Any) -> Detection:
    x_min, y_min, x_max, y_max = (float(edge) for edge in fields["box"])
    return Detection(
        label=str(fields["label"]),
        label_id=int(fields["label_id"]),
        confidence=float(fields["confidence"]),
        box=(x_min, y_min, x_max, y_max),
    )
