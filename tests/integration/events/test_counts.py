"""Counters of zones and lines over restarts: real event workers on a real Valkey, killed, handed over and stopped."""

from __future__ import annotations

from typing import Any

import redis

from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, spec_value
from elastic_inference.adapters.event_store import Batch, EventStore
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.events.camera_counts import CameraCounts, parse_counts
from elastic_inference.domain.result import Detection, result_json
from tests.support.event_workers import WorkerProcess
from tests.support.results import make_result
from tests.support.waiting import wait_for

CAMERA = "gate-1"
STREAM = "gate-1:people:inferred"
PARTITION = keys.partition_of(CAMERA, 16)
PATIENCE_S = 90.0
# Of five seconds: counters are saved that often.
REAL = {"EI_TEST_REAL": "1", "EI_TEST_SAVE_S": "0.5"}
RULES: dict[str, Any] = {
    "zones": [{"name": "door", "points": [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]}],
    "lines": [{"name": "path", "from": [0.3, 1.0], "to": [0.3, 0.0]}],
}


def configure(client: redis.Redis, revision: int, **rules: Any) -> None:
    spec = CameraSpec.model_validate({"name": CAMERA, "url": "rtsp://a/b", "types": ["people"], **rules})
    client.hset(keys.CAMERA_SPECS, CAMERA, spec_value(CompleteCamera(revision, spec)))


class Walks:
    """Somebody goes from the left over the line into the zone and back, again and again."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._first_ms = client.time()[0] * 1000 - 50_000
        self.number = 0

    def walk(self) -> None:
        """Eight seconds at 10 frames a second, which become visible at once."""
        with self._client.pipeline(transaction=True) as pipe:
            for step in range(1, 81):
                x = 0.1 + 0.02 * (step if step <= 40 else 80 - step)
                person = Detection("person", 1, 0.9, (x - 0.05, 0.4, x + 0.05, 0.8))
                order, at_ms = 80 * self.number + step, self._first_ms + 12_000 * self.number + 100 * step
                result = make_result(stream=STREAM, order=order, seq=order, detections=(person,), arrived_ms=at_ms)
                pipe.xadd(keys.partition_results(PARTITION), {"json": result_json(result)}, id=f"{at_ms}-1")
            pipe.execute()
        self.number += 1


def saved(client: redis.Redis) -> CameraCounts | None:
    raw: Any = client.hget(keys.event_states(PARTITION), keys.camera_counts(CAMERA))
    return None if raw is None else parse_counts(raw)


def totals(client: redis.Redis) -> tuple[int, ...]:
    """Present, entered, left, in, out; and the same from the minutes."""
    found = saved(client)
    if found is None:
        return ()
    zones = [row for zone in found.zones for row in zone.labels]
    lines = [row for line in found.lines for row in line.labels]
    return (
        *(sum(row.present for row in zones), sum(row.entered for row in zones), sum(row.left for row in zones)),
        *(sum(row.inward for row in lines), sum(row.outward for row in lines)),
        *(sum(sum(row.by_minute.entered) for row in zones), sum(sum(row.by_minute.left) for row in zones)),
        *(sum(sum(row.by_minute.inward) for row in lines), sum(sum(row.by_minute.outward) for row in lines)),
    )


def counted(client: redis.Redis, walks: int) -> None:
    wait_for(lambda: totals(client) == (0, *[walks] * 8), PATIENCE_S, f"the counters of {walks} walks")


def in_metrics(worker: WorkerProcess, walks: int) -> None:
    wait_for(lambda: worker.metric("ei_event_zone_entered_total") == walks, PATIENCE_S, "the counter of the zone")
    wait_for(lambda: worker.metric("ei_event_line_crossed_total") == 2 * walks, PATIENCE_S, "the counter of the line")


def test_counters_continue_over_a_takeover_and_a_restart_and_go_with_their_rules(client: redis.Redis) -> None:
    port = client.connection_pool.connection_kwargs["port"]
    configure(client, 1, **RULES)
    walks = Walks(client)
    with WorkerProcess(port, **REAL) as first:
        walks.walk()
        counted(client, 1)
        in_metrics(first, 1)
        with WorkerProcess(port, **REAL) as second:
            first.process.kill()
            first.process.wait()
            walks.walk()
            counted(client, 2)
            in_metrics(second, 2)
            assert second.stop() == 0
    walks.walk()
    # Whatever happens to the state of the stream itself, its totals are known.
    client.hset(keys.event_states(PARTITION), STREAM, b"of a version that nobody knows")
    with WorkerProcess(port, **REAL) as third:
        counted(client, 3)
        in_metrics(third, 3)
        configure(client, 2, zones=RULES["zones"])
        wait_for(lambda: (found := saved(client)) is not None and not found.lines, PATIENCE_S, "no line")
        configure(client, 3)
        wait_for(lambda: saved(client) is None, PATIENCE_S, "no counters")
        assert third.stop() == 0


def test_counters_are_written_and_removed_with_the_batch_of_their_partition(client: redis.Redis) -> None:
    store = EventStore(client, 100, 60.0)
    store.take(PARTITION, 7)
    store.commit(PARTITION, 7, Batch(1, (1, 0), (1, 0), {STREAM: b"s"}, counts={CAMERA: b"a", "other": b"b"}))
    client.hset(keys.event_states(PARTITION), mapping={"counts:a:b": "x", "counts:": "x", "no stream": "x"})
    taken = store.take(PARTITION, 8)
    assert (taken.states, taken.counts) == ({STREAM: b"s"}, {CAMERA: b"a", "other": b"b"})
    store.commit(PARTITION, 8, Batch(2, (2, 0), (2, 0), forget=(STREAM,), forget_counts=("other",)))
    taken = store.take(PARTITION, 9)
    assert (taken.states, taken.counts) == ({}, {CAMERA: b"a"})
    store.close()
