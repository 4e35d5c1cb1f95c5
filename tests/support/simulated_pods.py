"""Pods without inference: threads that publish results through the real broker, and hand out frames when asked."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError

from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.adapters.stream_broker.frame_requests import FrameRequests
from elastic_inference.base.config import RedisTarget
from elastic_inference.domain import keys
from elastic_inference.domain.result import Result
from tests.support.gateway import JPEG, a_result

TYPE = "people"
POD = "pod-1"


class SimulatedPod:
    """One pod. Each camera shows the same person in the same place, `fps` times a second."""

    def __init__(self, broker: RedisTarget, cameras: Sequence[str], fps: float = 5.0) -> None:
        self.published = 0
        # Cameras may be added while it runs.
        self.cameras = list(cameras)
        self._broker = broker
        self._fps = fps
        self._end = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._publish, self._hand_out)]

    def __enter__(self) -> SimulatedPod:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)

    def _publish(self) -> None:
        client = connect(self._broker, name=POD)
        publisher = ResultPublisher(client, TYPE, POD, 1000)
        order = 0
        while not self._end.wait(1 / self._fps):
            order += 1
            began = time.monotonic()
            batch = [(self._result(publisher, name, order, began), JPEG) for name in self.cameras]
            # As a pod does: the same batch again until Redis has taken it.
            while not self._end.is_set():
                try:
                    publisher.publish(batch)
                    publisher.report_worker(
                        self._fps, 0.0, 0.5, capacity_fps=2 * self._fps, device="CPU", model="m", precision="INT8"
                    )
                except (RedisError, OSError):
                    self._end.wait(0.1)
                else:
                    self.published += len(batch)
                    break
        publisher.close()
        client.close()

    def _result(self, publisher: ResultPublisher, name: str, order: int, now_s: float) -> Result:
        changes: dict[str, Any] = {"arrived_ms": publisher.server_ms(now_s), "pod": POD, "ts": float(order)}
        return dataclasses.replace(a_result(order, name, TYPE), **changes)

    def _hand_out(self) -> None:
        client = connect(self._broker, name=POD)
        requests = FrameRequests(client, POD)
        while not self._end.is_set():
            try:
                request = requests.wait()
                if request is not None:
                    requests.answer(request, JPEG)
            except (RedisError, OSError):
                self._end.wait(0.1)
        requests.close()
        client.close()


def stream_of(camera: str) -> str:
    """The stream id of a camera of `SimulatedPod`."""
    return keys.stream_id(camera, TYPE)
