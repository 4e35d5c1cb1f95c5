"""Makes the REST documents `Streams` and `Stats` from the broker's registry and the queue. Pure.

Called by `pool_state`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from elastic_inference.adapters.frame_queue import SourceInfo
from elastic_inference.adapters.stream_broker.records import StreamInfo, WorkerInfo
from elastic_inference.domain import keys
from elastic_inference.domain.pool import Stats, Stream, Streams, StreamState, TotalStats, TypeStats, Worker
from elastic_inference.flows.gateway.pool_records import PoolRecords

# A stream is no longer live when no result has arrived for this long and for three frame intervals.
QUIET_S = 3.0
# The same for a stream in which nothing moves: the gate may pass only key frames, which can be this far apart.
GATED_S = 15.0
# Servers' clocks differ by less than this: our services did not write a later time.
FUTURE_LIMIT_S = 24 * 3600.0
# States that a source reports and that take precedence over what the results say.
_TROUBLES = {
    state.value: state for state in (StreamState.STALLED, StreamState.RECONNECTING, StreamState.WAITING_FOR_KEY_FRAME)
}


def streams_document(records: PoolRecords, missing: Mapping[str, str], now_s: float) -> Streams:
    """All streams, inferred or only pushed, sorted by type and name."""
    sources = {
        keys.stream_id(source.name, infer_type): (infer_type, source)
        for infer_type, found in records.sources.items()
        for source in found
        if _is_plausible(source.last_seen, now_s)
    }
    inferred = [stream for stream in records.streams if _is_plausible(stream.last_seen, now_s)]
    streams = [_inferred(stream, sources.pop(stream.id, (None, None))[1], now_s) for stream in inferred]
    streams += [_pushed(stream_id, infer_type, source) for stream_id, (infer_type, source) in sources.items()]
    streams.sort(key=lambda each: (each.type, each.name))
    return Streams(tuple(streams), dict(missing))


def stats_document(records: PoolRecords, streams: Sequence[Stream], missing: Mapping[str, str], now_ms: float) -> Stats:
    """Statistics per type, in total and per pod."""
    workers = [worker for worker in records.workers if _is_plausible(worker.last_seen, now_ms / 1000)]
    names = {*records.lengths, *records.sources}
    names |= {worker.type for worker in workers}
    # A canary's results are those of no other frames.
    streams = [each for each in streams if each.type in names or not keys.is_canary_type(each.type)]
    names |= {stream.type for stream in streams}
    types = tuple(_type_stats(name, records, workers, streams) for name in sorted(names))
    known = [each.queue_length for each in types if each.queue_length is not None]
    return Stats(
        time_ms=round(now_ms),
        types=types,
        totals=TotalStats(
            infer_fps=_sum(each.infer_fps for each in types),
            drop_fps=_sum(each.drop_fps for each in types if each.drop_fps is not None),
            queue_length=sum(known) if known or not types else None,
            replicas=sum(each.replicas for each in types),
            streams=len(streams),
        ),
        workers=tuple(_worker(worker) for worker in sorted(workers, key=lambda each: (each.type, each.pod))),
        missing=dict(missing),
    )


def _type_stats(name: str, records: PoolRecords, workers: Sequence[WorkerInfo], streams: Sequence[Stream]) -> TypeStats:
    pods = [worker for worker in workers if worker.type == name]
    known = [pod.capacity_fps for pod in pods if pod.capacity_fps is not None]
    return TypeStats(
        type=name,
        infer_fps=_sum(pod.infer_fps for pod in pods),
        drop_fps=_sum(pod.drop_fps for pod in pods) if pods else _round(records.drop_fps.get(name, 0.0)),
        scale_ratio=_round(sum(pod.scale_ratio for pod in pods) / len(pods)) if pods else 0.0,
        capacity_fps=None if len(known) < len(pods) else _sum(known),
        queue_length=records.lengths.get(name),
        replicas=len(pods),
        streams=sum(stream.type == name for stream in streams),
    )


def _inferred(stream: StreamInfo, source: SourceInfo | None, now_s: float) -> Stream:
    gated = source is not None and source.state == StreamState.QUIET
    quiet = now_s - stream.last_seen > max(GATED_S if gated else QUIET_S, 3.0 / stream.fps if stream.fps > 0 else 0.0)
    if source is not None and source.state in _TROUBLES:
        state = _TROUBLES[source.state]
    elif not quiet:
        state = StreamState.QUIET if gated else StreamState.LIVE
    else:
        state = StreamState.STALLED if source is None else StreamState.WAITING
    return Stream(
        id=stream.id,
        name=stream.name,
        type=stream.type,
        state=state,
        model=stream.model or None,
        precision=stream.precision or None,
        width=stream.width,
        height=stream.height,
        fps=0.0 if quiet else _round(stream.fps),
        source_fps=None if source is None else _round(source.fps),
        latency_ms=_round(stream.latency_ms),
        last_seen=round(stream.last_seen, 1),
        url=f"/{stream.id}",
    )


def _pushed(stream_id: str, infer_type: str, source: SourceInfo) -> Stream:
    return Stream(
        id=stream_id,
        name=source.name,
        type=infer_type,
        state=_TROUBLES.get(source.state, StreamState.WAITING),
        model=None,
        precision=None,
        width=None,
        height=None,
        fps=0.0,
        source_fps=_round(source.fps),
        latency_ms=None,
        last_seen=round(source.last_seen, 1),
        url=f"/{stream_id}",
    )


def _worker(worker: WorkerInfo) -> Worker:
    return Worker(
        pod=worker.pod,
        type=worker.type,
        device=worker.device or None,
        model=worker.model or None,
        precision=worker.precision or None,
        infer_fps=_round(worker.infer_fps),
        drop_fps=_round(worker.drop_fps),
        scale_ratio=_round(worker.scale_ratio),
        capacity_fps=None if worker.capacity_fps is None else _round(worker.capacity_fps),
        last_seen=round(worker.last_seen, 1),
    )


def _is_plausible(last_seen: float, now_s: float) -> bool:
    """Whether a time is finite and not in the future."""
    return math.isfinite(last_seen) and last_seen <= now_s + FUTURE_LIMIT_S


def _sum(numbers: Iterable[float]) -> float:
    return _round(sum(numbers))


def _round(number: float) -> float:
    """Makes a number finite, not negative and rounded, so that values of foreign producers fit the schema."""
    return max(0.0, round(float(number), 2)) if math.isfinite(number) else 0.0
