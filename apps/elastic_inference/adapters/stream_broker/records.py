"""The registry's records of streams and workers, and their form as Redis hashes.

Written by `publisher`, read by `registry`. Uses no Redis client.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elastic_inference.domain import keys

if TYPE_CHECKING:
    from elastic_inference.domain.model_wish import PodModel

_MAX_TEXT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """An inferred stream. `fps` counts all pods, `latency_ms` is capture to result, `last_seen` in Unix seconds."""

    id: str
    name: str
    type: str
    model: str
    precision: str
    device: str
    width: int
    height: int
    fps: float
    latency_ms: float
    pod: str
    last_seen: float


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One inference pod with the values of its `/metrics`; `last_seen` in Unix seconds."""

    type: str
    pod: str
    infer_fps: float
    drop_fps: float
    scale_ratio: float
    device: str
    model: str
    precision: str
    last_seen: float
    # Unknown for pods of an older version.
    capacity_fps: float | None = None
    # What it does about a wished model; None if it does not say.
    model_state: PodModel | None = None


def parse_stream(identifier: str, fields: Mapping[bytes, bytes], score_ms: float) -> StreamInfo | None:
    """Reads a stream from its hash; None if the hash has expired or is not ours.

    `score_ms`, its score in `streams`, is the time last seen where the hash does not contain it (older pods).
    """
    parts = keys.split_stream_id(identifier)
    if parts is None or not fields:
        return None
    try:
        return StreamInfo(
            id=identifier,
            name=parts[0],
            type=parts[1],
            model=_text(fields, b"model"),
            precision=_text(fields, b"precision"),
            device=_text(fields, b"device"),
            pod=_text(fields, b"pod"),
            width=_pixels(fields, b"width"),
            height=_pixels(fields, b"height"),
            fps=_number(fields, b"fps"),
            latency_ms=_number(fields, b"latency_ms"),
            last_seen=(_number(fields, b"seen_ms") if b"seen_ms" in fields else _checked(score_ms)) / 1000,
        )
    except (KeyError, ValueError):
        return None


def parse_worker(member: str, fields: Mapping[bytes, bytes], last_seen_ms: float) -> WorkerInfo | None:
    """Reads a worker from its hash; None if the hash has expired or is not ours."""
    kind, colon, pod = member.partition(":")
    if not colon or not keys.is_name(kind) or not keys.is_name(pod) or not fields:
        return None
    try:
        return WorkerInfo(
            type=kind,
            pod=pod,
            infer_fps=_number(fields, b"infer_fps"),
            drop_fps=_number(fields, b"drop_fps"),
            scale_ratio=_number(fields, b"scale_ratio"),
            last_seen=_checked(last_seen_ms) / 1000,
            device=_text(fields, b"device"),
            model=_text(fields, b"model"),
            precision=_text(fields, b"precision"),
            capacity_fps=_number(fields, b"capacity_fps") if b"capacity_fps" in fields else None,
            model_state=_model_state(fields.get(b"model_state")),
        )
    except (KeyError, ValueError):
        return None


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str:
    if len(fields[name]) > _MAX_TEXT_BYTES:
        raise ValueError(f"{len(fields[name])} bytes of {name!r}")
    return fields[name].decode()


def _model_state(raw: object) -> PodModel | None:
    if raw is None:
        return None
    # Its many models take a while to load, and only pods and the gateway need them.
    from elastic_inference.domain.model_wish import read_pod_model  # noqa: PLC0415

    return read_pod_model(raw)


def _number(fields: Mapping[bytes, bytes], name: bytes) -> float:
    return _checked(float(fields[name]))


def _pixels(fields: Mapping[bytes, bytes], name: bytes) -> int:
    number = int(fields[name])
    if number < 1:
        raise ValueError(number)
    return number


def _checked(number: float) -> float:
    """A rate or a time, 0 or more. JSON has no form for an infinite number, which a score in Redis may be."""
    if not math.isfinite(number):
        raise ValueError(number)
    return max(0.0, number)
