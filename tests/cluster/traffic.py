"""Pushes frames into the cluster and reads results, from outside, as cameras and viewers do; counts both."""

from __future__ import annotations

import collections
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import redis

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import REDIS_ERRORS, connect
from elastic_inference.base.config import QueueRules, RedisTarget, Secret
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from tests.support.background import Background
from tests.support.viewer import ReconnectingViewer
from tests.support.waiting import wait_for


class Camera(Background):
    """Pushes numbered frames at a steady pace through the node port, as the user camera; retries without Redis."""

    def __init__(
        self, address: tuple[str, int], password: str, infer_type: str, *, name: str, jpeg: bytes, fps: float
    ) -> None:
        super().__init__()
        self.name = name
        self.pushed = 0
        self.uncertain = 0
        self.dropped = 0
        self._target = RedisTarget(
            url=Secret(f"redis://{address[0]}:{address[1]}/0"), username="camera", password=Secret(password)
        )
        self._type = infer_type
        self._jpeg = jpeg
        self._interval_s = 1 / fps

    def run(self) -> None:
        producer: QueueProducer | None = None
        sequence = 0
        due = time.monotonic()
        while not self._stop.is_set():
            sequence += 1
            frame = Frame(self.name, self._type, self._jpeg, seq=sequence, ts=time.time())
            try:
                if producer is None:
                    client = connect(self._target, key=keys.legacy_queue(self._type), name="test-camera")
                    producer = QueueProducer(client, self._type, self.name, QueueRules())
                    producer.report_source("live", 1 / self._interval_s, 0, 0)
                if sequence % 20 == 0:
                    producer.report_source("live", 1 / self._interval_s, 0, 0)
                outcome = producer.push(frame)
                self.pushed += 1
                self.dropped += sum(outcome.dropped.values())
            except REDIS_ERRORS:
                self.uncertain += 1  # it may have arrived before the answer was lost
                producer = None
                self._stop.wait(0.2)
            due = max(due + self._interval_s, time.monotonic() - 1)
            self._stop.wait(max(due - time.monotonic(), 0))


class Results(Background):
    """Reads `results_<type>` as a function or an analytics job would, and remembers which frames were inferred."""

    def __init__(self, address: tuple[str, int], password: str, infer_type: str) -> None:
        super().__init__()
        self.inferred: dict[str, set[int]] = {}
        self.doubles: collections.Counter[str] = collections.Counter()
        self._address, self._password = address, password
        self._key = keys.results(infer_type)

    def count(self, name: str) -> int:
        """Frames of a stream that were inferred."""
        return len(self.inferred.get(name, ()))

    def run(self) -> None:
        last = "0"
        while not self._stop.is_set():
            try:
                with redis.Redis(
                    host=self._address[0],
                    port=self._address[1],
                    username="admin",
                    password=self._password,
                    socket_timeout=5,
                    socket_connect_timeout=3,
                ) as client:
                    while not self._stop.is_set():
                        answer: Any = client.xread({self._key: last}, count=500, block=500)
                        entries = answer.values() if isinstance(answer, dict) else [each[1] for each in answer or ()]
                        for group in entries:
                            rows = group[0] if group and isinstance(group[0], list) else group
                            for entry_id, fields in rows:
                                last = entry_id.decode()
                                self._take(fields)
            except (redis.RedisError, OSError):
                self._stop.wait(0.3)

    def _take(self, fields: Mapping[bytes, bytes]) -> None:
        document = json.loads(next(value for value in fields.values() if value.startswith(b"{")))
        name = document["stream"].partition(":")[0]
        seen = self.inferred.setdefault(name, set())
        self.doubles[name] += document["seq"] in seen
        seen.add(document["seq"])


class Watcher(ReconnectingViewer):
    """A viewer at the gateway's node port that records when each result arrived."""

    def __init__(self, base_url: str, stream_id: str, token: str) -> None:
        super().__init__(f"{base_url}/{stream_id}?format=json", {"Authorization": f"Bearer {token}"})
        self.results: list[tuple[float, dict[str, Any]]] = []

    def _take(self, message: str | bytes) -> None:
        self.results.append((time.monotonic(), json.loads(message)))

    def since(self, moment: float) -> list[tuple[float, dict[str, Any]]]:
        """Results that arrived after a moment of the monotonic clock."""
        return [each for each in list(self.results) if each[0] > moment]

    def wait_flowing(self, timeout_s: float, what: str, count: int = 3) -> float:
        """Waits for `count` more results; returns when the first of them arrived."""
        began = time.monotonic()
        try:
            wait_for(lambda: len(self.since(began)) >= count, timeout_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; last refusals: {self.refusals[-3:]}") from None
        return self.since(began)[0][0]

    def longest_gap(self, since: float) -> float:
        """The longest time without a result between `since` and now, in seconds."""
        moments = [since, *[moment for moment, _ in self.since(since)], time.monotonic()]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))
