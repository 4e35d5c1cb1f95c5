"""The registry's hashes, valid and foreign ones."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.stream_broker.lifetimes import stream_life_s
from elastic_inference.adapters.stream_broker.records import parse_stream, parse_worker

STREAM = {
    b"type": b"people",
    b"model": b"m",
    b"precision": b"FP32",
    b"device": b"CPU",
    b"width": b"640",
    b"height": b"480",
    b"fps": b"29.97",
    b"latency_ms": b"12.5",
    b"pod": b"pod-1",
}
WORKER = {
    b"infer_fps": b"10",
    b"drop_fps": b"0",
    b"scale_ratio": b"0.5",
    b"device": b"CPU",
    b"model": b"m",
    b"precision": b"FP32",
}


@pytest.mark.parametrize(("fps", "life_s"), [(30.0, 10.0), (0.0, 10.0), (0.3, 10.0), (0.1, 30.0), (0.001, 600.0)])
def test_a_slow_stream_lives_three_intervals(fps: float, life_s: float) -> None:
    assert stream_life_s(fps) == pytest.approx(life_s)


def test_a_stream_is_read_from_its_hash() -> None:
    stream = parse_stream("gate-1:people:inferred", STREAM, 1_790_000_000_500)
    assert stream is not None
    assert (stream.name, stream.type, stream.fps, stream.last_seen) == ("gate-1", "people", 29.97, 1_790_000_000.5)


@pytest.mark.parametrize(
    ("identifier", "change"),
    [
        ("gate-1:people", {}),
        ("gate-1:people:inferred", {b"fps": b"nan"}),
        ("gate-1:people:inferred", {b"fps": b"many"}),
        ("gate-1:people:inferred", {b"width": b"6.5"}),
        ("gate-1:people:inferred", {b"model": b"\xff"}),
    ],
)
def test_a_foreign_hash_is_not_a_stream(identifier: str, change: dict[bytes, bytes]) -> None:
    assert parse_stream(identifier, STREAM | change, 0) is None


def test_the_capacity_of_a_pod_of_an_older_version_is_unknown() -> None:
    newer = WORKER | {b"capacity_fps": b"20"}
    found = [parse_worker("people:pod-1", fields, 0) for fields in (newer, WORKER)]
    assert [each and each.capacity_fps for each in found] == [20.0, None]
    assert parse_worker("people:pod-1", WORKER | {b"capacity_fps": b"nan"}, 0) is None


def test_an_expired_hash_is_not_a_stream() -> None:
    assert parse_stream("gate-1:people:inferred", {}, 0) is None
    assert parse_worker("people:pod-1", {}, 0) is None


@pytest.mark.parametrize("missing", list(WORKER))
def test_a_worker_that_lacks_a_field_is_ignored(missing: bytes) -> None:
    fields = {key: value for key, value in WORKER.items() if key != missing}
    assert parse_worker("people:pod-1", fields, 0) is None
    assert parse_worker("people:pod-1", WORKER, 0) is not None
