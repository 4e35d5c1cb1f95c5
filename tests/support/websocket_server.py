"""The websocket server in the test's own process, and messages for it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import redis
import simplejpeg

from elastic_inference.base.config import WebsocketSettings, read
from elastic_inference.base.settings.setting import text_of
from elastic_inference.domain.result import result_json
from elastic_inference.domain.result_message import join_message
from elastic_inference.flows.relay.server import Limits
from elastic_inference.flows.relay.websocket_service import serve
from tests.support.raw_viewer import RawViewer
from tests.support.results import make_result
from tests.support.threaded import Threaded
from tests.support.waiting import wait_for

STREAM = "cam:people:inferred"
JPEG = simplejpeg.encode_jpeg(np.full((240, 320, 3), 128, np.uint8), quality=90, colorspace="BGR")
# About 50 kB, the size of the measurements; the relay does not decode the image.
BIG_JPEG = JPEG + bytes(50_000 - len(JPEG))
RESULT = make_result()


def message(order: int, jpeg: bytes = JPEG, ts: float = 1.0) -> bytes:
    return join_message(result_json(dataclasses.replace(RESULT, order=order, ts=ts)), jpeg)


class Relay(Threaded):
    """The websocket server in this process, on a thread with an event loop of its own."""

    def __init__(self, limits: Limits | None = None, port: int = 0, **settings: Any) -> None:
        super().__init__("websocket server")
        given = {"websocket_host": "127.0.0.1", "websocket_port": port, **settings}
        self._settings = read(WebsocketSettings, {name.upper(): text_of(value) for name, value in given.items()})
        self._limits = limits

    async def main(self, on_port: Callable[[int], None]) -> None:
        await serve(self._settings, self.lifecycle, self.registry, self._limits, on_port)

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value, 0 when there is none."""
        return super().metric(name, **labels) or 0.0

    def open(self, target: str = f"/{STREAM}?format=json", **options: Any) -> RawViewer:
        return RawViewer(self.port, target, **options)


def wait_subscribed(client: redis.Redis, relay: Relay, viewers: int = 1) -> None:
    wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
    wait_for(lambda: relay.metric("ei_viewers") == viewers, what=f"{viewers} viewers")


def publish_together(client: redis.Redis, *messages: bytes) -> None:
    """All in one request, so that a busy machine does not come between two of them for longer than REORDER_MS."""
    with client.pipeline(transaction=False) as pipe:
        for each in messages:
            pipe.publish(STREAM, each)
        pipe.execute()


def orders(viewer: RawViewer, count: int) -> list[int]:
    return [json.loads(viewer.read()[1])["order"] for _ in range(count)]


def check_cut_off(limits: Limits, queue_url: str, client: redis.Redis) -> None:
    """Publishes to a viewer that reads nothing until the server closes its connection."""
    with (
        Relay(limits, queue_url=queue_url) as relay,
        relay.open(f"/{STREAM}?format=frame", receive_buffer_bytes=4096) as deaf,
    ):
        wait_subscribed(client, relay)
        order = 0

        def gone() -> bool:
            nonlocal order
            order += 1
            client.publish(STREAM, message(order, BIG_JPEG))
            return relay.metric("ei_viewers") == 0

        wait_for(gone, 15, "the deaf viewer to be cut off")
        assert deaf.is_cut_off()


def rss_bytes(process: subprocess.Popen[bytes]) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
