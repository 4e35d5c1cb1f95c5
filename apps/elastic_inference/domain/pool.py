"""Streams and pods as the gateway's REST documents and events show them; the only definition of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field, with_config

from elastic_inference.domain.fields import Count, Name, Rate, StreamId
from elastic_inference.domain.late import CLOSED

Missing = Annotated[
    dict[str, str],
    Field(
        description="Parts that do not answer now (queue, broker, websocket_server), each with a sentence; empty when "
        "all is healthy. The rest of the document is then the last known state."
    ),
]
_NOT_SHOWN = "null unless the token is an admin's that sees all cameras"
QueueLength = Annotated[
    Count | None, Field(description=f"Frames waiting; null if the queue does not answer, and {_NOT_SHOWN}.")
]
InferFps = Annotated[Rate, Field(description="Frames inferred per second.")]
DropFps = Annotated[Rate, Field(description="Frames dropped per second because capacity was short.")]
DropFpsOfAll = Annotated[
    Rate | None, Field(description=f"Frames dropped per second because capacity was short; {_NOT_SHOWN}.")
]
Replicas = Annotated[Count, Field(description="Pods that reported in the last 15 seconds.")]
_Pixels = Annotated[Count | None, Field(description="Of the frame, pixels.")]


class StreamState(StrEnum):
    """live: results arrive; waiting: frames are pushed but not inferred; the others are the state of the source."""

    LIVE = "live"
    QUIET = "quiet"
    WAITING = "waiting"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    WAITING_FOR_KEY_FRAME = "waiting_for_key_frame"


@with_config(CLOSED)
@dataclass(slots=True)
class Stream:
    """A stream, inferred or only pushed."""

    id: Annotated[StreamId, Field(description="<name>:<type>:inferred; also the path of its websocket.")]
    name: Annotated[Name, Field(description="The stream's name.")]
    type: Annotated[Name, Field(description="The inference type.")]
    state: StreamState
    model: Annotated[str | None, Field(description="The model's name; null before the first result.")]
    precision: Annotated[
        str | None,
        Field(description="The precision in which it runs: FP32, FP16, BF16, INT8 …; null before the first result."),
    ]
    width: _Pixels
    height: _Pixels
    fps: Annotated[Rate, Field(description="Results per second.")]
    source_fps: Annotated[
        Rate | None,
        Field(description="Frames per second that the source delivers; null if the producer does not report it."),
    ]
    latency_ms: Annotated[Rate | None, Field(description="From capture to result, for the newest results.")]
    last_seen: Annotated[
        Rate | None,
        Field(description="When the last result or report of the source arrived, Unix seconds by the server's clock."),
    ]
    url: Annotated[str, Field(description="Address of the websocket, relative to this server's root (/<id>).")]


@with_config(CLOSED)
@dataclass(slots=True)
class Streams:
    """All streams."""

    streams: Annotated[tuple[Stream, ...], Field(description="Sorted by type and name.")]
    missing: Missing


@with_config(CLOSED)
@dataclass(slots=True)
class TypeStats:
    """One inference type: sums over its pods."""

    type: Annotated[Name, Field(description="The inference type.")]
    infer_fps: InferFps
    drop_fps: DropFpsOfAll
    scale_ratio: Annotated[
        Rate | None,
        Field(
            description="Mean of demand divided by capacity over the type's pods: 2 means that twice the pods are "
            f"needed, 0.5 half; 0 without a pod; {_NOT_SHOWN}."
        ),
    ]
    capacity_fps: Annotated[
        Rate | None,
        Field(
            description="Frames per second that the type's pods can infer together; null while a pod of an older "
            f"version runs; {_NOT_SHOWN}."
        ),
    ]
    queue_length: QueueLength
    replicas: Replicas
    streams: Annotated[Count, Field(description="Streams of this type.")]


@with_config(CLOSED)
@dataclass(slots=True)
class TotalStats:
    """Sums over all types."""

    infer_fps: InferFps
    drop_fps: DropFpsOfAll
    queue_length: QueueLength
    replicas: Replicas
    streams: Annotated[Count, Field(description="All streams.")]


@with_config(CLOSED)
@dataclass(slots=True)
class Worker:
    """One inference pod."""

    pod: Annotated[str, Field(description="The pod's name.")]
    type: Annotated[Name, Field(description="The inference type that it serves.")]
    device: Annotated[str | None, Field(description="OpenVINO device: CPU, GPU, NPU …")]
    model: Annotated[str | None, Field(description="The model's name.")]
    precision: Annotated[str | None, Field(description="The precision in which it runs: FP32, FP16, BF16, INT8 …")]
    infer_fps: InferFps
    drop_fps: DropFps
    scale_ratio: Annotated[Rate, Field(description="Demand divided by this pod's capacity.")]
    capacity_fps: Annotated[
        Rate | None, Field(description="Frames per second that this pod can infer; null if it is of an older version.")
    ]
    last_seen: Annotated[Rate | None, Field(description="When it last reported, Unix seconds by the server's clock.")]


@with_config(CLOSED)
@dataclass(slots=True)
class Stats:
    """The current state of the pool; for a token that does not see all cameras, of its own streams only."""

    time_ms: Annotated[Rate, Field(description="The server's clock when this document was made, Unix milliseconds.")]
    types: Annotated[
        tuple[TypeStats, ...], Field(description="Sorted by type; types with frames but no pod are included.")
    ]
    totals: TotalStats
    workers: Annotated[
        tuple[Worker, ...],
        Field(description="Sorted by type and pod; empty for a token that does not see all cameras."),
    ]
    missing: Missing
