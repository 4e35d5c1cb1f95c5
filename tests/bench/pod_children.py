"""What runs in the processes around a measured pod: OpenVINO alone, two loops to compare with, and the feeder.

Started by `pod_processes` as `python -m tests.bench.pod_children <part> …`. The measured ones answer each line of their
input, a number of seconds, with a line of JSON, so that a model is compiled only once. The feeder runs until it is
ended; signals pause and resume it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np
import redis

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame

TYPE = "bench"
LOOP_TYPE = "loop"
STREAMS = 8
# Enough that the feeder need not hurry, few enough that Valkey's memory stays in the CPU cache.
WAITING = 48
# Frames in one round trip: large, to keep the feeder cheap.
BATCH = 12


def serve(measure: Callable[[float], dict[str, float]]) -> None:
    """Answers requests until the input ends."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(float(line))), flush=True)


def compiled(models: Path, name: str, hint: str) -> tuple[Any, Any, Any]:
    """(compiled model, prepared model, adapter), as the pod has them."""
    from elastic_inference.adapters.catalogue import find_model
    from elastic_inference.flows.inference.adapters import make_adapter
    from elastic_inference.flows.inference.runtime import load_openvino

    openvino = load_openvino()
    spec = find_model(name, models, TYPE)
    core = openvino.Core()
    adapter = make_adapter(spec.adapter or "ssd", spec.options)
    prepared = adapter.prepare(core.read_model(spec.path))
    config = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": precision()}
    return core.compile_model(prepared.model, "CPU", config), prepared, adapter


def precision() -> str:
    """The precision of the run (`--precision`), the same for the pod and for what it is compared with."""
    return os.environ.get("INFERENCE_PRECISION", "f32")


def alone(models: Path, name: str) -> Callable[[float], dict[str, float]]:
    """OpenVINO alone, as `benchmark_app` measures it: requests restart as they end, with one fixed input."""
    from openvino import AsyncInferQueue

    model, prepared, _adapter = compiled(models, name, "THROUGHPUT")
    requests = AsyncInferQueue(model, 0)
    image = np.random.default_rng(1).integers(0, 256, (1, prepared.height, prepared.width, 3), np.uint8)
    for request in requests:
        request.set_input_tensor(type(request.get_input_tensor())(image.copy()))

    def measure(seconds: float) -> dict[str, float]:
        for _ in range(4 * len(requests)):
            requests.start_async()
        requests.wait_all()
        began, used, count = time.monotonic(), time.process_time(), 0
        while time.monotonic() - began < seconds:
            requests.start_async()
            count += 1
        requests.wait_all()
        spent = time.monotonic() - began
        return {"fps": count / spent, "cpu_ms": (time.process_time() - used) * 1000 / count}

    return measure


def latency(models: Path, name: str) -> Callable[[float], dict[str, float]]:
    """The bare latency: one inference at a time on all cores, and nothing else."""
    model, prepared, _adapter = compiled(models, name, "LATENCY")
    request = model.create_infer_request()
    image = np.random.default_rng(1).integers(0, 256, (1, prepared.height, prepared.width, 3), np.uint8)
    request.infer({prepared.input_name: image})

    def measure(seconds: float) -> dict[str, float]:
        spent_ms = []
        until = time.monotonic() + seconds
        while (began := time.monotonic()) < until:
            request.infer()
            spent_ms.append((time.monotonic() - began) * 1000)
        return {"p50_ms": float(np.percentile(spent_ms, 50)), "p99_ms": float(np.percentile(spent_ms, 99))}

    return measure


def straight_loop(models: Path, name: str, port: int) -> Callable[[float], dict[str, float]]:
    """What common demos do, in one thread: pop, full decode, synchronous inference, draw, encode, publish."""
    from elastic_inference.flows.inference.adapters import letterbox_of, preprocess

    model, prepared, adapter = compiled(models, name, "LATENCY")
    request = model.create_infer_request()
    client = redis.Redis(port=port, socket_timeout=None, retry=None)  # it waits in BLPOP as long as it takes
    queue = keys.legacy_queue(LOOP_TYPE)

    def step() -> None:
        _key, message = client.blpop([queue])
        fields = msgpack.unpackb(message)
        image = cv2.imdecode(np.frombuffer(fields["data"], np.uint8), cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        colours = image if prepared.colour == "BGR" else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        results = request.infer({prepared.input_name: preprocess(colours, prepared)})
        found = adapter.decode(dict(enumerate(results.values())), letterbox_of(width, height, prepared), 0.5)
        for each in found:
            x_min, y_min, x_max, y_max = each.box
            corners = (int(x_min * width), int(y_min * height)), (int(x_max * width), int(y_max * height))
            cv2.rectangle(image, *corners, (0, 255, 0), 2)
            cv2.putText(image, each.label, corners[0], cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 255, 0), 2)
        _good, encoded = cv2.imencode(".jpg", image)
        client.publish("loop", encoded.tobytes())

    return _paced(step)


def pipeline_loop(models: Path, name: str, port: int) -> Callable[[float], dict[str, float]]:
    """openvino-model-api's AsyncPipeline, as its examples use it: pop, decode, submit, take results, publish those.

    It draws nothing and publishes no image, so it does less than the loop and than the pod.
    """
    from model_api.adapters import OpenvinoAdapter, create_core
    from model_api.models import SSD
    from model_api.pipelines import AsyncPipeline

    from elastic_inference.adapters.catalogue import find_model

    spec = find_model(name, models, TYPE)
    plugin = {"INFERENCE_PRECISION_HINT": precision()}
    adapter = OpenvinoAdapter(create_core(), str(spec.path), device="CPU", max_num_requests=0, plugin_config=plugin)
    wrapper = SSD(adapter, {"labels": list(spec.options.labels), "confidence_threshold": 0.5}, preload=False)
    pipeline = AsyncPipeline(wrapper)
    client = redis.Redis(port=port, socket_timeout=None, retry=None)  # it waits in BLPOP as long as it takes
    queue = keys.legacy_queue(LOOP_TYPE)
    sent = taken = 0

    def step() -> None:
        nonlocal sent, taken
        before = taken
        while taken == before:
            found = pipeline.get_result(taken)
            if found is not None:
                detections, _meta = found
                client.publish("loop", str(detections))
                taken += 1
            elif pipeline.is_ready():
                _key, message = client.blpop([queue])
                image = cv2.imdecode(np.frombuffer(msgpack.unpackb(message)["data"], np.uint8), cv2.IMREAD_COLOR)
                pipeline.submit_data(image, sent, {})
                sent += 1
            else:
                pipeline.await_any()

    return _paced(step)


def _paced(step: Callable[[], None]) -> Callable[[float], dict[str, float]]:
    def measure(seconds: float) -> dict[str, float]:
        for _ in range(8):
            step()
        began, used, count = time.monotonic(), time.process_time(), 0
        while time.monotonic() - began < seconds:
            step()
            count += 1
        spent = time.monotonic() - began
        return {"fps": count / spent, "cpu_ms": (time.process_time() - used) * 1000 / count}

    return measure


def feed(port: int, kind: str, *, legacy: bool) -> None:
    """Keeps WAITING frames in the queue of `kind`; a msgpack list of JPEGs comes on the input."""
    jpegs = msgpack.unpackb(sys.stdin.buffer.read())
    keep_freed_memory()
    target = config.RedisTarget(url=Secret(f"redis://127.0.0.1:{port}/0"))
    rules = config.QueueRules(stream_queue_depth=64)
    link = PipelineConnection(connect(target))
    producers = [QueueProducer(connect(target), kind, f"cam-{index}", rules) for index in range(STREAMS)]
    messages = [
        msgpack.packb({"name": f"cam-{at % STREAMS}", "category": kind, "data": jpeg}) for at, jpeg in enumerate(jpegs)
    ]
    queue = keys.legacy_queue(kind) if legacy else keys.tokens(kind)
    turn, pause_s = 0, 0.02
    print(json.dumps({"ready": True}), flush=True)
    while True:
        room = WAITING - link.exchange([("LLEN", queue)])[0]
        if room < WAITING // 2:
            time.sleep(pause_s)
        elif legacy:
            link.exchange([("RPUSH", queue, messages[(turn + at) % len(messages)]) for at in range(room)])
            turn += room
            pause_s = _next_pause_s(pause_s, room)
        else:
            for _ in range(room // BATCH):
                name = f"cam-{turn % STREAMS}"
                batch = [turn * BATCH + at for at in range(BATCH)]
                producers[turn % STREAMS].push_batch(
                    [Frame(name, kind, jpegs[number % len(jpegs)], number) for number in batch]
                )
                turn += 1
            pause_s = _next_pause_s(pause_s, room)


def _next_pause_s(pause_s: float, room: int) -> float:
    """The pause until the feeder looks again: about until half of the frames are gone; less if it was late."""
    return max(0.002, pause_s * 0.7) if room > WAITING * 3 // 4 else min(0.1, pause_s * 1.05)


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("alone", "latency", "loop", "pipeline", "feed"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="")
    parser.add_argument("--redis", type=int, default=0)
    parser.add_argument("--kind", default=TYPE)
    parser.add_argument("--legacy", action="store_true")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its children
    if given.part == "feed":
        feed(given.redis, given.kind, legacy=given.legacy)
    elif given.part == "alone":
        serve(alone(given.models, given.model))
    elif given.part == "latency":
        serve(latency(given.models, given.model))
    else:
        serve((straight_loop if given.part == "loop" else pipeline_loop)(given.models, given.model, given.redis))


if __name__ == "__main__":
    main()
