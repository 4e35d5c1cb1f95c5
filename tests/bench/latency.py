"""Latency at 25, 50 and 80 % of a pod's capacity: push to published result, and push to a websocket client.

Eight cameras push at a steady rate with a jitter of a fifth, each with a phase of its own. This process pushes,
subscribes at Redis and watches through the websocket server, so one clock measures everything.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import redis

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from tests.bench.pod import load_jpegs
from tests.bench.pod_children import STREAMS, TYPE
from tests.bench.pod_processes import Feeder, Measured, running_pod
from tests.bench.record import Context, Figure, LeftOut, percentile
from tests.support.ports import free_port
from tests.support.raw_viewer import RawViewer
from tests.support.system import ServiceProcess

PART = "latency"
MODEL = "face-detection-retail-0005_FP32"
LOADS = (0.25, 0.5, 0.8)
_FOUR_BYTES = struct.Struct(">I")


def run(context: Context, seconds: float = 8.0) -> Iterator[Figure | LeftOut]:
    """The figures, milliseconds."""
    if not (context.models / MODEL.rpartition("_")[0]).is_dir():
        yield LeftOut(PART, f"{MODEL}: the model is missing")
        return
    images = load_jpegs((768, 432), context.videos)
    cores = sorted(os.sched_getaffinity(0))
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedValkey())
        bare = stack.enter_context(Measured("latency", MODEL, context.models, server, cores))
        feeder = stack.enter_context(Feeder(server, images, cores))
        pod = stack.enter_context(running_pod(server, MODEL, context.models, cores))
        relay = _relay(server, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ei-bench-"))))
        stack.callback(relay[0].terminate)
        bare_ms = [bare.ask(1.0)["p50_ms"] for _ in range(2)]
        # Its capacity while it is watched, as in the rounds below.
        capacity = statistics.median(pod.measure(feeder, 1.5, watched=True) for _ in range(2))
        bare_ms += [bare.ask(1.0)["p50_ms"] for _ in range(2)]
        bare_p50 = statistics.median(bare_ms)
        yield Figure(PART, "one bare inference, p50", round(bare_p50, 2), "ms", rounds=tuple(bare_ms))
        for load in LOADS:
            traffic = Traffic(server, relay[1], images, load * capacity)
            traffic.run(context.seconds(seconds))
            for name, values in (("published", traffic.published_ms), ("a websocket client", traffic.viewed_ms)):
                for share in (0.5, 0.95, 0.99):
                    maximum = None
                    if load == 0.5:
                        maximum = {0.5: 1.5 * bare_p50 + 10, 0.99: 3 * bare_p50 + 30}.get(share)
                    yield Figure(
                        PART,
                        f"push to {name}, {load:.0%} load, p{share * 100:.0f}",
                        round(percentile(values, share), 2),
                        "ms",
                        maximum=None if maximum is None else round(maximum, 2),
                        details={
                            "frames": traffic.pushed,
                            "arrived": len(values),
                            "pushed_fps": round(traffic.fps, 1),
                            "capacity_fps": round(capacity, 1),
                        },
                    )


def _relay(server: EmbeddedValkey, folder: Path) -> tuple[ServiceProcess, int]:
    port = free_port()
    environ = {"QUEUE_URL": server.url, "WEBSOCKET_HOST": "127.0.0.1", "WEBSOCKET_PORT": str(port)}
    return ServiceProcess("websocket", environ, folder, "relay").start().wait_ready(), port


class Traffic:
    """Pushes at a rate and records when each frame's result arrives."""

    def __init__(self, server: EmbeddedValkey, relay_port: int, images: list[bytes], fps: float) -> None:
        self.fps = fps
        self.pushed = 0
        self.published_ms: list[float] = []
        self.viewed_ms: list[float] = []
        self._images = images
        self._names = [f"cam-{index}" for index in range(STREAMS)]
        streams = [keys.stream_id(name, TYPE) for name in self._names]
        target = config.RedisTarget(url=Secret(server.url))
        self._producers = [QueueProducer(connect(target), TYPE, name, config.QueueRules()) for name in self._names]
        for producer in self._producers:
            producer.report_source("live", fps / STREAMS, 0, 0)  # so that the websocket server knows the streams
        self._pushed_at: dict[int, float] = {}
        self._ended = False
        self._client = redis.Redis(port=server.port, socket_timeout=1)
        self._channel = self._client.pubsub(ignore_subscribe_messages=True)
        self._channel.subscribe(*streams)
        self._viewers = [RawViewer(relay_port, f"/{stream}?format=json", timeout_s=30) for stream in streams]

    def run(self, seconds: float) -> None:
        """Runs for two seconds to settle, then for `seconds` that count."""
        threads = [
            threading.Thread(target=self._subscribe, daemon=True),
            *(threading.Thread(target=self._watch, args=(viewer,), daemon=True) for viewer in self._viewers),
        ]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        count_from, until = began + 2.0, began + 2.0 + seconds
        gap = STREAMS / self.fps
        random_source = random.Random(7)  # noqa: S311
        due = [(began + gap * random_source.random(), index) for index in range(STREAMS)]
        numbers = itertools.count(1)
        while True:
            at, index = min(due)
            if at > until:
                break
            time.sleep(max(0.0, at - time.monotonic()))
            number = next(numbers)
            frame = Frame(self._names[index], TYPE, self._images[number % len(self._images)], number)
            now = time.monotonic()
            if now >= count_from:
                self._pushed_at[number] = now
                self.pushed += 1
            self._producers[index].push(frame)
            due.remove((at, index))
            due.append((at + gap * random_source.uniform(0.8, 1.2), index))
        time.sleep(1.0)
        self._ended = True
        for viewer in self._viewers:
            viewer.close()
        for thread in threads:
            thread.join(5)
        self._channel.close()
        self._client.close()
        for producer in self._producers:
            producer.close()

    def _note(self, document: bytes, into: list[float]) -> None:
        seen = time.monotonic()
        began = self._pushed_at.get(json.loads(document)["seq"])
        if began is not None:
            into.append((seen - began) * 1000)

    def _subscribe(self) -> None:
        while not self._ended:
            message = self._channel.get_message(timeout=0.2)
            if message is not None:
                data = message["data"]
                self._note(data[4 : 4 + _FOUR_BYTES.unpack_from(data)[0]], self.published_ms)

    def _watch(self, viewer: RawViewer) -> None:
        try:
            while not self._ended:
                opcode, payload = viewer.read()
                if opcode == 1:
                    self._note(payload, self.viewed_ms)
                else:
                    raise ConnectionError(f"the websocket server closed: {payload!r}")
        except (OSError, EOFError):
            if not self._ended:
                raise
