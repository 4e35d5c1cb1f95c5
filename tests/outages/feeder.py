"""Writes results into the partitions as two pods do, at a steady rate; goes on when Redis is away for a while."""

from __future__ import annotations

import threading
import time

import redis
from redis.exceptions import RedisError

from elastic_inference.domain import keys
from elastic_inference.domain.result import result_json
from tests.support.results import make_result

PARTITIONS = 16
STREAMS = tuple(f"cam-{number}:people:inferred" for number in range(20))
_STEP_S = 0.05


class Feeder:
    """`sent` has, for each stream, the order of its newest result that Redis took."""

    def __init__(self, port: int, rate: float) -> None:
        self.sent = dict.fromkeys(STREAMS, 0)
        # Results that Redis did not take, or whose answer was lost.
        self.unsure: set[tuple[str, int]] = set()
        self._client = redis.Redis(port=port, socket_timeout=5, retry=None)
        self._rate = rate
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the results on their way."""
        self._ends.set()
        self._thread.join(30)

    def total(self) -> int:
        """How many results were written so far."""
        return sum(self.sent.values()) - len(self.unsure)

    def _run(self) -> None:
        began, done = time.monotonic(), 0
        while not self._ends.wait(_STEP_S):
            due = int((time.monotonic() - began) * self._rate) - done
            self._write(due, done)
            done += due

    def _write(self, count: int, first: int) -> None:
        pipe, made = self._client.pipeline(transaction=False), []
        for number in range(first, first + count):
            stream, order = STREAMS[number % len(STREAMS)], number // len(STREAMS) + 1
            document = result_json(make_result(stream=stream, order=order, seq=order, ts=float(order)))
            partition = keys.partition_of(stream.partition(":")[0], PARTITIONS)
            pipe.xadd(keys.partition_results(partition), {"json": document}, maxlen=4096, approximate=True)
            made.append((stream, order))
        try:
            pipe.execute()
        except (RedisError, OSError):
            self.unsure.update(made)
        for stream, order in made:
            self.sent[stream] = order
