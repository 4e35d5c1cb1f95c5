"""A pod's side of the stream broker: results, registry and its own rates, one pipeline a batch.

Called by the inference flow's publishing thread. A result costs Redis one entry of `results_<type>` and, only while
somebody watches its stream, one PUBLISH that carries the picture; once a second and stream its hash. Times in the
registry are the Redis server's, so that no two machines' clocks are compared.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.exceptions import ReadOnlyError, ResponseError

from elastic_inference import keys
from elastic_inference.log import Throttle
from elastic_inference.result import Result, join_message, result_json
from elastic_inference.stream_broker.records import LONGEST_LIFE_S, WORKER_LIFE_S, stream_life_s
from elastic_inference.stream_broker.stream_meter import StreamMeter
from elastic_inference.stream_broker.watching import WatchTable

log = logging.getLogger(__name__)

RESULT_FIELD = "json"
_CLOCK_EVERY_S = 10.0


class ResultPublisher:
    """Publishes for one pod. One thread at a time, on a client of its own."""

    def __init__(
        self,
        client: redis.Redis,
        infer_type: str,
        pod: str,
        results_maxlen: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`results_maxlen`: entries kept in `results_<type>`, roughly; 0 writes none."""
        self._client = client
        self._type = infer_type
        self._pod = pod
        self._results_maxlen = results_maxlen
        self._results_key = keys.results(infer_type)
        self._monotonic = monotonic
        self._meter = StreamMeter()
        self._watching = WatchTable()
        self._throttle = Throttle()
        self._server_offset_ms = 0.0
        self._clock_read_at = float("-inf")

    def publish(self, batch: Sequence[tuple[Result, bytes]]) -> None:
        """Publishes results with their JPEGs, in the order given. One round trip; two where a stream is new.

        Raises one of `redis_connection.REDIS_ERRORS` when Redis is away; what was sent of the batch is unknown then,
        and publishing it again may repeat entries of `results_<type>` (consumers tell by stream and `order`).
        What Redis refuses for another reason (memory, rights) is logged once a minute and not repeated.
        """
        if not batch:
            return
        try:
            self._publish(batch)
        except Exception:
            self._watching.forget()
            raise

    def report_worker(
        self, infer_fps: float, drop_fps: float, scale_ratio: float, *, device: str, model: str, precision: str
    ) -> None:
        """Refreshes this pod's hash, for 15 s; call it each second. Raises as `publish`."""
        self._read_clock(self._monotonic())
        key = keys.worker_info(self._type, self._pod)
        pipe = self._client.pipeline(transaction=False)
        pipe.hset(
            key,
            mapping={
                "infer_fps": f"{infer_fps:.3f}",
                "drop_fps": f"{drop_fps:.3f}",
                "scale_ratio": f"{scale_ratio:.4f}",
                "device": device,
                "model": model,
                "precision": precision,
            },
        )
        pipe.expire(key, int(WORKER_LIFE_S))
        pipe.zadd(keys.WORKERS, {keys.worker_id(self._type, self._pod): self._server_ms()})
        pipe.zremrangebyscore(keys.WORKERS, "-inf", self._server_ms() - LONGEST_LIFE_S * 1000)
        self._check(pipe.execute(raise_on_error=False))

    def remove_worker(self) -> None:
        """Takes this pod out of the registry, at the end of its drain. Raises as `publish`."""
        pipe = self._client.pipeline(transaction=False)
        pipe.delete(keys.worker_info(self._type, self._pod))
        pipe.zrem(keys.WORKERS, keys.worker_id(self._type, self._pod))
        self._check(pipe.execute(raise_on_error=False))

    def _publish(self, batch: Sequence[tuple[Result, bytes]]) -> None:
        now_s = self._monotonic()
        self._read_clock(now_s)
        streams = [result.stream for result, _ in batch]
        unknown = self._watching.unknown(streams, now_s)
        if unknown:
            pipe = self._client.pipeline(transaction=False)
            self._ask(pipe, unknown)
            self._learn(unknown, self._check(pipe.execute(raise_on_error=False)), now_s)
        due = self._watching.due(streams, now_s)
        pipe = self._client.pipeline(transaction=False)
        for result, jpeg in batch:
            self._add_result(pipe, result, jpeg, now_s)
        if due:
            self._ask(pipe, due)
        if not len(pipe):
            return
        answers = self._check(pipe.execute(raise_on_error=False))
        if due:
            self._learn(due, answers[-len(due) - 1 :], now_s)

    def _add_result(self, pipe: Any, result: Result, jpeg: bytes, now_s: float) -> None:
        watched = self._watching.is_watched(result.stream)
        if watched or self._results_maxlen:
            document = result_json(result)
            if self._results_maxlen:
                pipe.execute_command(
                    "XADD", self._results_key, "MAXLEN", "~", self._results_maxlen, "*", RESULT_FIELD, document
                )
            if watched:
                pipe.execute_command("PUBLISH", result.stream, join_message(document, jpeg))
        latency_ms = result.age_ms + result.queue_ms + result.infer_ms
        reading = self._meter.add(result.stream, result.order, latency_ms, now_s)
        if reading is None:
            return
        key = keys.stream_info(result.stream)
        pipe.hset(
            key,
            mapping={
                "type": result.type,
                "model": result.model,
                "precision": result.precision,
                "device": result.device,
                "width": result.width,
                "height": result.height,
                "fps": f"{reading.fps:.2f}",
                "latency_ms": f"{reading.latency_ms:.2f}",
                "pod": result.pod,
            },
        )
        pipe.pexpire(key, int(stream_life_s(reading.fps) * 1000))
        pipe.zadd(keys.STREAMS, {result.stream: self._server_ms()})
        pipe.zremrangebyscore(keys.STREAMS, "-inf", self._server_ms() - LONGEST_LIFE_S * 1000)

    @staticmethod
    def _ask(pipe: Any, stream_ids: list[str]) -> None:
        for each in stream_ids:
            pipe.exists(keys.watch(each))
        pipe.execute_command("PUBSUB", "NUMSUB", *stream_ids)

    def _learn(self, stream_ids: list[str], answers: list[Any], now_s: float) -> None:
        counts = answers[-1] if isinstance(answers[-1], (list, tuple)) else []
        subscribed = _subscribers(counts)
        for each, exists in zip(stream_ids, answers, strict=False):
            watched = (isinstance(exists, int) and exists > 0) or subscribed.get(each, 0) > 0
            self._watching.learn(each, watched, now_s)

    def _check(self, answers: list[Any]) -> list[Any]:
        """Raises what means that Redis is away, logs what it refuses."""
        for answer in answers:
            if isinstance(answer, ReadOnlyError) or (
                isinstance(answer, Exception) and not isinstance(answer, ResponseError)
            ):
                raise answer
            if isinstance(answer, ResponseError) and self._throttle.allow(str(answer)[:40]):
                log.warning("Redis refused part of a publish: %s", answer)
        return answers

    def _read_clock(self, now_s: float) -> None:
        if now_s - self._clock_read_at < _CLOCK_EVERY_S:
            return
        seconds, micros = self._client.time()
        self._clock_read_at = self._monotonic()
        self._server_offset_ms = seconds * 1000 + micros / 1000 - self._clock_read_at * 1000

    def _server_ms(self) -> int:
        return int(self._monotonic() * 1000 + self._server_offset_ms)


def _subscribers(counts: Sequence[Any]) -> dict[str, int]:
    """NUMSUB's answer by channel: flat or as pairs, depending on the client's parser."""
    if counts and isinstance(counts[0], (list, tuple)):
        pairs = [(pair[0], pair[1]) for pair in counts]
    else:
        pairs = list(zip(counts[::2], counts[1::2], strict=False))
    return {channel.decode() if isinstance(channel, bytes) else str(channel): int(n) for channel, n in pairs}
