"""The documents `Streams` and `Stats`: states, sums, and records that foreign producers wrote."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from elastic_inference.adapters.frame_queue import SourceInfo
from elastic_inference.adapters.stream_broker.records import StreamInfo, WorkerInfo
from elastic_inference.domain.pool import Stream
from elastic_inference.flows.gateway.documents import stats_document, streams_document
from elastic_inference.flows.gateway.pool_records import PoolRecords

NOW_S = 1_790_000_000.0


def source(
    name: str = "gate-1", state: str = "live", fps: float = 15.0, last_seen: float = NOW_S, kind: str = "people"
) -> SourceInfo:
    return SourceInfo(name, kind, state, fps, reconnects=0, dropped=0, last_seen=last_seen)


def inferred(name: str = "gate-1", kind: str = "people", fps: float = 15.0, age_s: float = 0.1) -> StreamInfo:
    return StreamInfo(
        id=f"{name}:{kind}:inferred",
        name=name,
        type=kind,
        model="m",
        precision="INT8",
        device="CPU",
        width=640,
        height=480,
        fps=fps,
        latency_ms=12.345,
        pod="p",
        last_seen=NOW_S - age_s,
    )


def worker(
    pod: str, kind: str = "people", ratio: float = 1.0, drops: float = 0.0, capacity: float | None = 12.5
) -> WorkerInfo:
    return WorkerInfo(
        type=kind,
        pod=pod,
        infer_fps=10.0,
        drop_fps=drops,
        scale_ratio=ratio,
        device="CPU",
        model="m",
        precision="INT8",
        last_seen=NOW_S,
        capacity_fps=capacity,
    )


def only(records: PoolRecords) -> Stream:
    (stream,) = streams_document(records, {}, NOW_S).streams
    return stream


@pytest.mark.parametrize(
    ("said", "age_s", "fps", "state"),
    [
        (None, 0.1, 15.0, "live"),
        (source(), 0.1, 15.0, "live"),
        (source(), 5.0, 15.0, "waiting"),
        (None, 5.0, 15.0, "stalled"),
        (None, 5.0, 0.2, "live"),
        (source(state="stalled"), 0.1, 15.0, "stalled"),
        (source(state="reconnecting"), 5.0, 15.0, "reconnecting"),
        (source(state="<script>"), 0.1, 15.0, "live"),
    ],
)
def test_state_of_an_inferred_stream(said: SourceInfo | None, age_s: float, fps: float, state: str) -> None:
    sources = {"people": [said]} if said else {}
    stream = only(PoolRecords(streams=[inferred(fps=fps, age_s=age_s)], sources=sources))
    assert stream.state == state
    assert stream.fps == (fps if age_s < 3 or fps < 1 else 0)
    assert stream.source_fps == (15.0 if said else None)


@pytest.mark.parametrize(
    ("said", "state"), [("live", "waiting"), ("stalled", "stalled"), ("reconnecting", "reconnecting"), ("", "waiting")]
)
def test_a_stream_that_is_only_pushed_is_listed(said: str, state: str) -> None:
    stream = only(PoolRecords(sources={"people": [source(state=said)]}))
    assert (stream.id, stream.state, stream.model) == ("gate-1:people:inferred", state, None)


def test_streams_are_sorted_by_type_and_name() -> None:
    records = PoolRecords(
        streams=[inferred("b"), inferred("a", "zebra"), inferred("c")], sources={"people": [source(name="a")]}
    )
    document = streams_document(records, {}, NOW_S)
    assert [each.id[:4] for each in document.streams] == ["a:pe", "b:pe", "c:pe", "a:ze"]


def test_stats_sum_pods_and_include_types_without_any() -> None:
    records = PoolRecords(
        streams=[inferred()],
        workers=[worker("p2", ratio=2.0, drops=5.0), worker("p1", ratio=1.0)],
        lengths={"people": 3, "face": 7, "car": None},
    )
    streams = streams_document(records, {}, NOW_S).streams
    stats = stats_document(records, streams, {"broker": "unavailable"}, NOW_S * 1000)
    by_type = {each.type: each for each in stats.types}
    assert list(by_type) == ["car", "face", "people"]
    assert asdict(by_type["people"]) == {
        "type": "people",
        "infer_fps": 20.0,
        "drop_fps": 5.0,
        "scale_ratio": 1.5,
        "capacity_fps": 25.0,
        "queue_length": 3,
        "replicas": 2,
        "streams": 1,
    }
    assert (by_type["face"].replicas, by_type["face"].scale_ratio, by_type["face"].queue_length) == (0, 0.0, 7)
    assert by_type["car"].queue_length is None
    assert asdict(stats.totals) == {"infer_fps": 20.0, "drop_fps": 5.0, "queue_length": 10, "replicas": 2, "streams": 1}
    assert [each.pod for each in stats.workers] == ["p1", "p2"]
    assert stats.missing == {"broker": "unavailable"}


def test_drops_of_a_type_without_pods_are_those_that_housekeeping_claims() -> None:
    records = PoolRecords(workers=[worker("p1", drops=5.0)], lengths={"people": 0, "face": 4})
    records.drop_fps = {"face": 14.987, "people": 99.0}
    stats = stats_document(records, [], {}, NOW_S * 1000)
    assert {each.type: each.drop_fps for each in stats.types} == {"people": 5.0, "face": 14.99}
    assert stats.totals.drop_fps == 19.99


def test_the_capacity_is_unknown_while_one_pod_does_not_report_it() -> None:
    records = PoolRecords(workers=[worker("p1"), worker("p2", capacity=None), worker("p3", "face")])
    stats = stats_document(records, [], {}, NOW_S * 1000)
    assert {each.type: each.capacity_fps for each in stats.types} == {"people": None, "face": 12.5}
    assert [each.capacity_fps for each in stats.workers] == [12.5, 12.5, None]


def test_an_unknown_queue_length_is_not_zero() -> None:
    stats = stats_document(PoolRecords(lengths={"people": None}), [], {"queue": "unavailable"}, 0)
    assert stats.totals.queue_length is None


@pytest.mark.parametrize("last_seen", [float("inf"), float("-inf"), float("nan"), NOW_S + 1e9])
def test_records_with_an_impossible_time_are_left_out(last_seen: float) -> None:
    records = PoolRecords(
        streams=[inferred(), inferred("bad", age_s=NOW_S - last_seen)],
        workers=[WorkerInfo("people", "pod", 1.0, 0.0, 1.0, "CPU", "m", "INT8", last_seen)],
        sources={"people": [source("x", last_seen=last_seen), source("y", fps=float("inf"))]},
    )
    streams = streams_document(records, {}, NOW_S)
    assert [each.name for each in streams.streams] == ["gate-1", "y"]
    stats = stats_document(records, streams.streams, {}, NOW_S * 1000)
    assert stats.workers == ()
    json.dumps([asdict(streams), asdict(stats)], allow_nan=False)
