"""Cameras whose rate follows a plan, and an account of each frame."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import redis

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import REDIS_ERRORS, connect
from elastic_inference.adapters.stream_broker.publisher import RESULT_FIELD
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.result import Result, parse_result
from tests.support.jpeg import noisy_jpeg

STREAMS = 8
MOST_STREAMS = 16
# A larger jump of a camera's order means that its counter had expired and started again.
_NEW_ORDER = 1_000_000
# Bytes of an entry beside its JSON, counted on the protocol.
_ENTRY_BYTES = 48


class Load:
    """Pushes `rate(seconds since the start)` frames per second, spread over its streams, as the camera user.

    A second thread reads every result: what was inferred, and by the gapless `order` what was popped and lost. `gaps`
    has, for each second, the largest gap in a stream that ended in it; `disordered` counts results of a pod that were
    not in their stream's order, or came twice. Times are seconds since `follow`.
    """

    def __init__(self, url: str, infer_type: str, camera_password: str, admin_password: str) -> None:
        def target(user: str, password: str) -> config.RedisTarget:
            return config.RedisTarget(url=Secret(url), username=user, password=Secret(password))

        self._type = infer_type
        self._producers = [
            QueueProducer(
                connect(target("camera", camera_password)), infer_type, f"camera-{number}", config.QueueRules()
            )
            for number in range(MOST_STREAMS)
        ]
        self._admin: redis.Redis = connect(target("admin", admin_password))
        self.images = [noisy_jpeg(number) for number in range(8)]
        self._streams = STREAMS
        self._rate: Callable[[float], float] = lambda _: 0.0
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._account = threading.Lock()
        self._number = 0
        self._counts_from = 0
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._push, self._read)]
        self._orders: dict[str, set[int]] = defaultdict(set)
        self.pushed = 0
        self.refused = 0
        self.inferred = 0
        self.read_bytes = 0
        self._forget()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def follow(self, rate: Callable[[float], float], streams: int = STREAMS) -> None:
        """From now on pushes `rate(seconds)` frames per second, over this many streams; counts start again from 0.

        Frames that were pushed before and are still on their way do not count, unless `streams` changes.
        """
        with self._account:
            self._began, self._rate, self._streams = time.monotonic(), rate, streams
            self.pushed = self.refused = self.inferred = 0
            self._counts_from = self._number
            self._forget()

    def _forget(self) -> None:
        self._orders.clear()
        self._newest: dict[tuple[str, str], int] = {}
        self._arrived: dict[str, float] = {}
        self.gaps: dict[int, float] = {}
        self.disordered = 0
        self.first_frame_s: float | None = None
        self.first_result_s: float | None = None

    def follow_nothing(self) -> None:
        """Stops pushing frames; the account stays open for those on their way."""
        self._rate = lambda _: 0.0

    def lost(self) -> int:
        """Frames that were popped and never produced a result, between the first and the last result."""
        missing = 0
        for orders in list(self._orders.values()):
            numbers = sorted(orders)
            gaps = (after - before - 1 for before, after in itertools.pairwise(numbers))
            missing += sum(gap for gap in gaps if gap < _NEW_ORDER)
        return missing

    def waiting(self) -> int:
        """Frames in the queue now."""
        return int(self._admin.llen(keys.tokens(self._type)))  # type: ignore[arg-type]

    def redis_bytes(self) -> tuple[int, int]:
        """(in, out): bytes that Redis has received and sent since its start, without those sent to this reader."""
        info: dict[str, int] = self._admin.info("stats")  # type: ignore[assignment]
        return int(info["total_net_input_bytes"]), int(info["total_net_output_bytes"]) - self.read_bytes

    def forget_drops(self) -> None:
        """Removes drops that no pod has claimed: without a pod they belong to an earlier scenario."""
        self._admin.delete(keys.dropped(self._type))

    def _push(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            rate = self._rate(time.monotonic() - self._began)
            if rate <= 0:
                self._stop.wait(0.1)
                due = time.monotonic()
                continue
            due = max(due + 1 / rate, time.monotonic() - 1.0)
            self._stop.wait(max(0.0, due - time.monotonic()))
            with self._account:
                self._push_one()

    def _push_one(self) -> None:
        seq, stream = divmod(self._number, self._streams)
        image = self.images[self._number % len(self.images)]
        frame = Frame(f"camera-{stream}", self._type, image, seq, time.time(), 0.0, 192, 144)
        try:
            outcome = self._producers[stream].push(frame)
        except REDIS_ERRORS:
            self.refused += 1
            return
        self._number += 1
        self.pushed += outcome.pushed
        if outcome.pushed and self.first_frame_s is None:
            self.first_frame_s = time.monotonic() - self._began
        self.refused += not outcome.pushed

    def _read(self) -> None:
        last: bytes | str = "$"
        name = keys.results(self._type)
        while not self._stop.is_set():
            try:
                answer = self._admin.xread({name: last}, count=500, block=500)
            except REDIS_ERRORS:
                self._stop.wait(0.5)
                continue
            for _, entries in answer or ():  # type: ignore[union-attr]
                for identity, fields in entries:
                    last = identity
                    document = fields[RESULT_FIELD.encode()]
                    self.read_bytes += len(document) + _ENTRY_BYTES
                    self._count(parse_result(document))

    def _count(self, result: Result) -> None:
        camera = int(result.stream.partition(":")[0].removeprefix("camera-"))
        with self._account:
            if (result.seq or 0) * self._streams + camera < self._counts_from:
                return
            self._note_order(result)
            self._note_time(result.stream, time.monotonic() - self._began)
            self._orders[result.stream].add(result.order)
            self.inferred += 1

    def _note_order(self, result: Result) -> None:
        by = (result.stream, result.pod)
        # A counter that expired starts again with a number that is far from the others.
        late = 0 <= self._newest.get(by, -1) - result.order < _NEW_ORDER
        self.disordered += late or result.order in self._orders[result.stream]
        self._newest[by] = result.order

    def _note_time(self, stream: str, at_s: float) -> None:
        if self.first_result_s is None:
            self.first_result_s = at_s
        gap_s = at_s - self._arrived.get(stream, at_s)
        self._arrived[stream] = at_s
        self.gaps[int(at_s)] = max(round(gap_s, 3), self.gaps.get(int(at_s), 0.0))
