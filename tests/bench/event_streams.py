"""One event worker with 400 streams of 5 fps, five objects each: its CPU time, and whether it keeps up.

`python -m tests.bench --only events` runs it. The worker is the real service; the results come from a process of this
module. Each camera has two zones and a line.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import redis

from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, spec_value
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.result import result_json
from tests.bench.event_scene import OBJECTS, PART, RULES, walkers
from tests.bench.record import Context, Figure, cpu_s, waited_s
from tests.support.event_workers import WorkerProcess
from tests.support.results import make_result
from tests.support.waiting import wait_for

PARTITIONS = 16
STREAMS, FPS = 400, 5.0
# The walkers' scene repeats after this many frames.
_SCENE = 1000
_STEP_S = 0.02
_SAMPLE_S = 0.5


def figures(context: Context) -> Iterator[Figure]:
    """CPU of a core, the longest lag, and how many results waited in the first and in the last third."""
    seconds = context.seconds(30.0)
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as client:
        _add_cameras(client)
        with WorkerProcess(server.port, EI_TEST_REAL="1", LOG_LEVEL="WARNING") as worker:
            wait_for(lambda: client.exists(keys.EVENTS_ON), 60, "the event worker")
            command = [sys.executable, "-m", "tests.bench.event_streams", str(server.port)]
            with subprocess.Popen(command) as feeder:
                try:
                    yield from _measure(client, worker, seconds)
                finally:
                    feeder.terminate()


def _measure(client: redis.Redis, worker: WorkerProcess, seconds: float) -> Iterator[Figure]:
    # New streams cost more: their cameras are read, and their first objects begin.
    wait_for(lambda: _written(client) > 2 * STREAMS * FPS, 60, "results")
    time.sleep(seconds / 6)
    pid = worker.process.pid
    before = _written(client), _analysed(worker), cpu_s(pid), waited_s(pid)
    began, lags, waiting = time.monotonic(), [], []
    while time.monotonic() - began < seconds:
        lags.append(worker.metric("ei_event_lag_seconds"))
        analysed = _analysed(worker)
        waiting.append(_written(client) - analysed)
        time.sleep(_SAMPLE_S)
    after = _written(client), _analysed(worker), cpu_s(pid), waited_s(pid)
    took = time.monotonic() - began
    written, analysed, used, waited = (now - then for now, then in zip(after, before, strict=True))
    third = len(waiting) // 3
    first, last = (1000 * sum(each) / third / (written / took) for each in (waiting[:third], waiting[-third:]))
    name = f"one worker, {STREAMS} streams of {FPS:g} fps, {OBJECTS} objects each"
    details = {
        "late": worker.metric("ei_event_results_late_total"),
        "analysed_a_second": round(analysed / took, 1),
        "waited_for_a_core_s": round(waited, 1),
        "seconds": round(took, 1),
    }
    yield Figure(PART, f"{name}: results a second", written / took, "1/s", minimum=0.98 * STREAMS * FPS)
    # By what was analysed: a worker that waits for a core analyses less, and uses less of it.
    cpu = 100 * used / analysed * STREAMS * FPS
    yield Figure(PART, f"{name}: CPU", cpu, "% of a core", maximum=100, details=details)
    yield Figure(PART, f"{name}: longest ei_event_lag_seconds", max(lags), "s", maximum=0)
    yield Figure(PART, f"{name}: age of results not analysed, first third", first, "ms")
    yield Figure(PART, f"{name}: age of results not analysed, last third", last, "ms", maximum=max(2 * first, 200))


def _analysed(worker: WorkerProcess) -> float:
    return worker.metric("ei_event_results_total")


def _written(client: redis.Redis) -> int:
    """How many results were written so far, whether they were trimmed since or not."""
    pipe = client.pipeline(transaction=False)
    for each in range(PARTITIONS):
        pipe.xinfo_stream(keys.partition_results(each))
    answers: list[Any] = pipe.execute(raise_on_error=False)
    return sum(int(each["entries-added"]) for each in answers if isinstance(each, dict))


def _camera(number: int) -> str:
    return f"cam-{number}"


def _add_cameras(client: redis.Redis) -> None:
    for number in range(STREAMS):
        name = _camera(number)
        spec = CameraSpec.model_validate({"name": name, "url": "rtsp://a/b", "types": ["people"], **RULES})
        client.hset(keys.CAMERA_SPECS, name, spec_value(CompleteCamera(1, spec)))


def feed(port: int) -> None:
    """Writes the results of all streams, evenly spread, until it is ended."""
    client = redis.Redis(port=port)
    scene = [tuple(walkers(n)) for n in range(_SCENE)]
    began, done = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * STREAMS * FPS)
        pipe = client.pipeline(transaction=False)
        for number in range(done, due):
            camera, order = _camera(number % STREAMS), number // STREAMS + 1
            found = scene[(order + number % STREAMS * 7) % _SCENE]
            result = make_result(
                stream=keys.stream_id(camera, "people"), order=order, seq=order, ts=float(order), detections=found
            )
            key = keys.partition_results(keys.partition_of(camera, PARTITIONS))
            pipe.xadd(key, {"json": result_json(result)}, maxlen=4096, approximate=True)
        if due > done:
            pipe.execute()
        done = due
        time.sleep(_STEP_S)


if __name__ == "__main__":
    feed(int(sys.argv[1]))
