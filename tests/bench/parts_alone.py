"""The CPU time of everything around an inference, for one frame: JPEG, resize, queue and publish, each measured alone.

Called by `pod`. The engine's own share of the whole CPU time is the ceiling for any arrangement of these parts while
all cores are busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from elastic_inference.adapters.frame_queue import QueueConsumer, QueueProducer
from elastic_inference.adapters.jpeg_planes import Canvas
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.frame import Frame, jpeg_size
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters import preprocess
from elastic_inference.flows.inference.adapters.preprocessing import begin_input
from elastic_inference.flows.inference.frame_detector import min_decoded_size
from elastic_inference.flows.inference.jpeg import JpegDecoder
from tests.bench.pod_children import compiled
from tests.bench.record import cpu_s
from tests.support.results import make_result

_BATCH = 8


def parts_cpu_ms(model: str, models: Path, jpegs: list[bytes], seconds: float = 0.8) -> dict[str, float]:
    """CPU ms per frame: `decode`, `resize`, `push` (feeder), `pop`, `publish` (pod), `server` (Valkey, all three)."""
    keep_freed_memory()
    _model, prepared, _adapter = compiled(models, model, "THROUGHPUT")
    width, height = jpeg_size(jpegs[0])
    minimum = min_decoded_size(width, height, prepared)
    decoder = JpegDecoder(prepared.colour)
    target = np.zeros((1, prepared.height, prepared.width, 3), np.uint8)
    canvas = Canvas(begin_input(width, height, prepared, target))
    if decoder.decode_into(canvas, jpegs[0], (width, height), minimum):

        def step(at: int) -> None:
            decoder.decode_into(canvas, jpegs[at % len(jpegs)], (width, height), minimum)

        found = {"decode": _cpu_ms(step, seconds), "resize": 0.0}  # one call does both
    else:
        found = {"decode": _cpu_ms(lambda at: decoder.decode(jpegs[at % len(jpegs)], width, height, *minimum), seconds)}
        image = decoder.decode(jpegs[0], width, height, *minimum)
        found["resize"] = _cpu_ms(lambda _: preprocess(image, prepared, out=target), seconds / 2)
    return {**found, **_queue(jpegs, width, height, seconds)}


def _cpu_ms(step: Callable[[int], object], seconds: float) -> float:
    for at in range(20):
        step(at)
    began, used, count = time.monotonic(), time.thread_time(), 0
    while time.monotonic() - began < seconds:
        step(count)
        count += 1
    return (time.thread_time() - used) * 1000 / count


def _queue(jpegs: list[bytes], width: int, height: int, seconds: float) -> dict[str, float]:
    rules = config.QueueRules(stream_queue_depth=64)
    with EmbeddedValkey() as server:
        address = config.RedisTarget(url=Secret(server.url))
        producer = QueueProducer(connect(address), "bench", "cam-0", rules)
        consumer = QueueConsumer(connect(address), "bench", "pod", rules)
        publisher = ResultPublisher(connect(address), "bench", "pod", 1000)
        consumer.load_scripts()
        detection = Detection("face", 1, 0.9, (0.1, 0.1, 0.2, 0.2))
        spent = dict.fromkeys(("push", "pop", "publish"), 0.0)
        frames = 0
        assert server.pid is not None

        def timed(name: str, call: Callable[[], object]) -> object:
            began = time.thread_time()
            result = call()
            spent[name] += time.thread_time() - began
            return result

        server_s, until = 0.0, time.monotonic() + 2 * seconds
        while time.monotonic() < until:
            if frames == 10 * _BATCH:  # warm
                server_s = cpu_s(server.pid)
                spent.update(dict.fromkeys(spent, 0.0))
            batch = [Frame("cam-0", "bench", jpegs[(frames + at) % len(jpegs)], frames + at) for at in range(_BATCH)]
            # The pod is fed in batches of four, and pops and publishes what has gathered.
            for start in range(0, _BATCH, 4):
                timed("push", lambda batch=batch, start=start: producer.push_batch(batch[start : start + 4]))
            popped = timed("pop", lambda: consumer.pop(_BATCH, 0))
            results = [
                (
                    make_result(
                        **{"stream": "cam-0:bench:inferred", "type": "bench", "order": each.order},
                        **{"seq": each.frame.seq, "width": width, "height": height, "queue_ms": each.queue_ms},
                        detections=(detection, detection),
                    ),
                    each.frame.data,
                )
                for each in popped.frames  # type: ignore[attr-defined]
            ]
            timed("publish", lambda results=results: publisher.publish(results))
            frames += _BATCH
        counted = frames - 10 * _BATCH
        found = {name: value * 1000 / counted for name, value in spent.items()}
        found["server"] = (cpu_s(server.pid) - server_s) * 1000 / counted
        for each in (producer, consumer, publisher):
            each.close()
    return found
