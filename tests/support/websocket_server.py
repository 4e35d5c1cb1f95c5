"""The websocket server in the test's own process, and messages for it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import redis
import simplejpeg
from prometheus_client import CollectorRegistry

from elastic_inference.config import WebsocketSettings
from elastic_inference.lifecycle import Lifecycle
from elastic_inference.relay.server import Limits
from elastic_inference.relay.service import serve
from elastic_inference.result import Detection, Result, join_message, result_json
from tests.support.raw_viewer import RawViewer
from tests.support.waiting import wait_for

STREAM = "cam:people:inferred"
JPEG = simplejpeg.encode_jpeg(np.full((240, 320, 3), 128, np.uint8), quality=90, colorspace="BGR")
# About 50 kB, the size the measurements use: the relay doesn't look into the picture.
BIG_JPEG = JPEG + bytes(50_000 - len(JPEG))
RESULT = Result(
    stream=STREAM,
    type="people",
    model="m",
    precision="FP32",
    device="CPU",
    order=1,
    seq=1,
    ts=1.0,
    width=320,
    height=240,
    pod="pod",
    age_ms=0,
    queue_ms=0,
    infer_ms=0,
    detections=(Detection("person", 1, 0.93, (0.25, 0.25, 0.75, 0.75)),),
)


def message(order: int, jpeg: bytes = JPEG, ts: float = 1.0) -> bytes:
    return join_message(result_json(dataclasses.replace(RESULT, order=order, ts=ts)), jpeg)


class Relay:
    """The websocket server in this process, on a thread with an event loop of its own."""

    def __init__(self, limits: Limits | None = None, **settings: Any) -> None:
        self.registry = CollectorRegistry()
        self.lifecycle = Lifecycle("websocket server")
        self.port = 0
        self._settings = WebsocketSettings(websocket_host="127.0.0.1", websocket_port=0, **settings)
        self._limits = limits
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        def take_port(port: int) -> None:
            self.port = port

        try:
            asyncio.run(serve(self._settings, self.lifecycle, self.registry, self._limits, take_port))
        except BaseException as error:  # noqa: BLE001  raised again by __exit__
            self._failed = error

    def __enter__(self) -> Relay:
        self._thread.start()
        wait_for(lambda: self.port or self._failed, what="the websocket port")
        return self

    def __exit__(self, *_: object) -> None:
        self.lifecycle.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self._failed is not None:
            raise self._failed

    def open(self, target: str = f"/{STREAM}?format=json", **options: Any) -> RawViewer:
        return RawViewer(self.port, target, **options)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


def wait_subscribed(client: redis.Redis, relay: Relay, viewers: int = 1) -> None:
    wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
    wait_for(lambda: relay.metric("ei_viewers") == viewers, what=f"{viewers} viewers")


def orders(viewer: RawViewer, count: int) -> list[int]:
    return [json.loads(viewer.read()[1])["order"] for _ in range(count)]


def rss_bytes(process: subprocess.Popen[bytes]) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
