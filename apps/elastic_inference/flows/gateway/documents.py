"""The REST documents, made of what the registry and the queue say. Pure.

Called by `pool_state`. `openapi.json` describes every field; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from elastic_inference.adapters.stream_broker.records import StreamInfo, WorkerInfo
from elastic_inference.domain import keys

Document = dict[str, Any]
# No result for so long, and for three frame intervals, means that a stream is not live.
QUIET_S = 3.0
# What was last seen further in the future than two servers' clocks can differ was written by somebody else.
FUTURE_LIMIT_S = 24 * 3600.0
SOURCE_STATES = frozenset(("live", "stalled", "reconnecting"))


class Source(Protocol):
    """What the documents need of `frame_queue.SourceInfo`; `last_seen` in Unix seconds."""

    @property
    def name(self) -> str:
        """The stream's name."""

    @property
    def state(self) -> str:
        """`live`, `stalled` or `reconnecting`."""

    @property
    def fps(self) -> float:
        """Frames a second that the source delivers."""

    @property
    def last_seen(self) -> float:
        """When the producer last said so."""


@dataclass(slots=True)
class Readings:
    """Everything that was last read. `sources` and `lengths` are by type; None is a length that is not known."""

    streams: Sequence[StreamInfo] = ()
    workers: Sequence[WorkerInfo] = ()
    sources: dict[str, Sequence[Source]] = field(default_factory=dict)
    lengths: dict[str, int | None] = field(default_factory=dict)


def streams_document(readings: Readings, missing: Mapping[str, str], now_s: float) -> Document:
    """`Streams`: inferred streams and those that are only pushed, sorted by type and name."""
    by_id = {
        keys.stream_id(source.name, infer_type): (infer_type, source)
        for infer_type, sources in readings.sources.items()
        for source in sources
        if _is_seen(source.last_seen, now_s)
    }
    streams = [stream for stream in readings.streams if _is_seen(stream.last_seen, now_s)]
    documents = [_inferred(stream, by_id.pop(stream.id, (None, None))[1], now_s) for stream in streams]
    documents += [_pushed(identifier, infer_type, source) for identifier, (infer_type, source) in by_id.items()]
    documents.sort(key=lambda each: (each["type"], each["name"]))
    return {"streams": documents, "missing": dict(missing)}


def stats_document(
    readings: Readings, streams: Sequence[Document], missing: Mapping[str, str], now_ms: float
) -> Document:
    """`Stats`: by type, in total, and the workers."""
    workers = [worker for worker in readings.workers if _is_seen(worker.last_seen, now_ms / 1000)]
    names = {*readings.lengths, *readings.sources}
    names |= {worker.type for worker in workers} | {stream["type"] for stream in streams}
    types = []
    for name in sorted(names):
        pods = [worker for worker in workers if worker.type == name]
        types.append(
            {
                "type": name,
                "infer_fps": _round(sum(pod.infer_fps for pod in pods)),
                "drop_fps": _round(sum(pod.drop_fps for pod in pods)),
                "scale_ratio": _round(sum(pod.scale_ratio for pod in pods) / len(pods)) if pods else 0.0,
                "queue_length": readings.lengths.get(name),
                "replicas": len(pods),
                "streams": sum(stream["type"] == name for stream in streams),
            }
        )
    known = [each["queue_length"] for each in types if each["queue_length"] is not None]
    return {
        "time_ms": round(now_ms),
        "types": types,
        "totals": {
            "infer_fps": _round(sum(each["infer_fps"] for each in types)),
            "drop_fps": _round(sum(each["drop_fps"] for each in types)),
            "queue_length": sum(known) if known or not types else None,
            "replicas": sum(each["replicas"] for each in types),
            "streams": len(streams),
        },
        "workers": [_worker(worker) for worker in sorted(workers, key=lambda each: (each.type, each.pod))],
        "missing": dict(missing),
    }


def _inferred(stream: StreamInfo, source: Source | None, now_s: float) -> Document:
    quiet = now_s - stream.last_seen > max(QUIET_S, 3.0 / stream.fps if stream.fps > 0 else 0.0)
    if source is not None and source.state in SOURCE_STATES - {"live"}:
        state = source.state
    elif not quiet:
        state = "live"
    else:
        state = "waiting" if source is not None else "stalled"
    return {
        "id": stream.id,
        "name": stream.name,
        "type": stream.type,
        "state": state,
        "model": stream.model or None,
        "precision": stream.precision or None,
        "width": stream.width,
        "height": stream.height,
        "fps": 0.0 if quiet else _round(stream.fps),
        "source_fps": None if source is None else _round(source.fps),
        "latency_ms": _round(stream.latency_ms),
        "last_seen": round(stream.last_seen, 1),
        "url": f"/{stream.id}",
    }


def _pushed(identifier: str, infer_type: str, source: Source) -> Document:
    return {
        "id": identifier,
        "name": source.name,
        "type": infer_type,
        "state": source.state if source.state in SOURCE_STATES - {"live"} else "waiting",
        "model": None,
        "precision": None,
        "width": None,
        "height": None,
        "fps": 0.0,
        "source_fps": _round(source.fps),
        "latency_ms": None,
        "last_seen": round(source.last_seen, 1),
        "url": f"/{identifier}",
    }


def _worker(worker: WorkerInfo) -> Document:
    return {
        "pod": worker.pod,
        "type": worker.type,
        "device": worker.device or None,
        "model": worker.model or None,
        "precision": worker.precision or None,
        "infer_fps": _round(worker.infer_fps),
        "drop_fps": _round(worker.drop_fps),
        "scale_ratio": _round(worker.scale_ratio),
        "last_seen": round(worker.last_seen, 1),
    }


def _is_seen(last_seen: float, now_s: float) -> bool:
    """Whether it is a time that JSON can hold and a clock can have shown."""
    return math.isfinite(last_seen) and last_seen <= now_s + FUTURE_LIMIT_S


def _round(number: float) -> float:
    """Finite, not negative, two digits: what a foreign producer wrote must still fit the description."""
    return max(0.0, round(float(number), 2)) if math.isfinite(number) else 0.0
