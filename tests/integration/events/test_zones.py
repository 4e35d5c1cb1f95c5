"""The whole service on a real Valkey: a camera's zone, somebody who walks through it, events and counters."""

from __future__ import annotations

import urllib.request

import redis

from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, spec_value
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.events.event import EventKind, Phase
from elastic_inference.domain.result import Detection, result_json
from tests.support.event_workers import WorkerProcess, events_of
from tests.support.results import make_result
from tests.support.waiting import wait_for

STREAM = "gate-1:people:inferred"
ZONE = {"name": "door", "points": [[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]]}


def walk(client: redis.Redis) -> None:
    """Somebody goes from the left through the zone and back, in 8 s at 10 frames a second."""
    seconds, micros = client.time()
    first_ms = seconds * 1000 + micros / 1000 - 10_000
    key = keys.partition_results(keys.partition_of("gate-1", 16))
    for order in range(1, 81):
        x = 0.1 + 0.02 * (order if order <= 40 else 80 - order)
        person = Detection("person", 1, 0.9, (x - 0.05, 0.4, x + 0.05, 0.8))
        at_ms = first_ms + 100 * order
        result = make_result(stream=STREAM, order=order, seq=order, detections=(person,), arrived_ms=at_ms)
        client.xadd(key, {"json": result_json(result)}, id=f"{int(at_ms)}-1")


def test_a_visit_to_a_zone_begins_and_ends_once_and_is_counted(client: redis.Redis) -> None:
    spec = CameraSpec.model_validate({"name": "gate-1", "url": "rtsp://a/b", "types": ["people"], "zones": [ZONE]})
    client.hset(keys.CAMERA_SPECS, "gate-1", spec_value(CompleteCamera(1, spec)))
    walk(client)
    with WorkerProcess(client.connection_pool.connection_kwargs["port"], EI_TEST_REAL="1") as worker:

        def phases() -> list[str]:
            return [str(each.phase) for each in events_of(client, STREAM) if each.kind is EventKind.ZONE]

        wait_for(lambda: Phase.END in phases(), 60.0, "the end of the visit")
        assert [each for each in phases() if each != Phase.UPDATE] == ["begin", "end"]
        (zone,) = {each.zone for each in events_of(client, STREAM) if each.kind is EventKind.ZONE}
        assert zone == "door"

        def metrics() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{worker.metrics_port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())

        row = f'ei_event_zone_entered_total{{label="person",stream="{STREAM}",zone="door"}} 1.0'
        labels = f'ei_event_zone_entered_total{{stream="{STREAM}",zone="door",label="person"}} 1.0'
        wait_for(lambda: any(each in metrics() for each in (row, labels)), 30.0, "the counter")
