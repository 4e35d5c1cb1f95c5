"""Two simulated pods of uneven speed, whose results come out of order: threads with the real broker's client.

Each camera's frames are given to one pod or the other at random, and each frame keeps its order. The fast pod publishes
a result 20 ms after the frame, the slow one 40 to 120 ms later than that. As in a real pod, the results of one stream
leave a pod in order.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base.config import RedisTarget, Secret
from elastic_inference.domain import keys
from elastic_inference.domain.result import Result
from tests.support.results import make_result

TYPE = "people"
FAST_S = 0.02
SLOWER_S = (0.04, 0.12)
# As `result_sender.GATHER_S`.
_GATHER_S = 0.005
_SEED = 17


@dataclass(slots=True)
class _Pod:
    """What one pod has in hand: (when it is done, number, result)."""

    name: str
    hand: list[tuple[float, int, Result]] = field(default_factory=list)
    # When the newest result of each stream is done: the next one is not done before it.
    free_at_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    lock: threading.Lock = field(default_factory=threading.Lock)


class UnevenPods:
    """`sent`: the order of each stream's newest frame that went to a pod. `overtaken`: results that came too late."""

    def __init__(self, port: int, cameras: int, fps: float) -> None:
        self.streams = tuple(keys.stream_id(f"cam-{number}", TYPE) for number in range(cameras))
        self.sent = dict.fromkeys(self.streams, 0)
        self.published = self.overtaken = 0
        # Results that Redis did not take, or whose answer was lost.
        self.unsure: set[tuple[str, int]] = set()
        self._port = port
        self._rate = cameras * fps
        self._newest = dict.fromkeys(self.streams, 0)
        self._random = random.Random(_SEED)  # noqa: S311  seeded, not a secret
        self._pods = (_Pod("pod-fast"), _Pod("pod-slow"))
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._capture, daemon=True)]
        self._threads += [threading.Thread(target=self._publish, args=(each,), daemon=True) for each in self._pods]

    def start(self) -> None:
        """Begins to publish."""
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """Ends; results in hand are lost."""
        self._ends.set()
        for each in self._threads:
            each.join(30)

    def _capture(self) -> None:
        began, number = time.monotonic(), 0
        while not self._ends.wait(max(0.0, began + number / self._rate - time.monotonic())):
            stream, order = self.streams[number % len(self.streams)], number // len(self.streams) + 1
            slow = self._random.random() < 0.5
            pod = self._pods[slow]
            done_s = began + number / self._rate + FAST_S
            done_s += self._random.uniform(*SLOWER_S) if slow else 0.0
            result = make_result(stream=stream, order=order, seq=order, ts=float(order), pod=pod.name)
            with pod.lock:
                done_s = pod.free_at_s[stream] = max(done_s, pod.free_at_s[stream])
                heapq.heappush(pod.hand, (done_s, number, result))
            self.sent[stream] = order
            number += 1

    def _publish(self, pod: _Pod) -> None:
        target = RedisTarget(url=Secret(f"redis://127.0.0.1:{self._port}/0"))
        client = connect(target, name=pod.name)
        publisher = ResultPublisher(client, TYPE, pod.name, 1000)
        while not self._ends.wait(_GATHER_S):
            batch = []
            with pod.lock:
                while pod.hand and pod.hand[0][0] <= time.monotonic():
                    batch.append(heapq.heappop(pod.hand)[2])
            if not batch:
                continue
            try:
                publisher.publish([(each, b"") for each in batch])
            except (RedisError, OSError):
                self.unsure.update((each.stream, each.order) for each in batch)
                continue
            self._count(batch)
        publisher.close()
        client.close()

    def _count(self, batch: list[Result]) -> None:
        for each in batch:
            self.published += 1
            self.overtaken += each.order < self._newest[each.stream]
            self._newest[each.stream] = max(self._newest[each.stream], each.order)
