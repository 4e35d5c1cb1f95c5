"""The streams' entries in the registry, as one pod writes them: a few times a second, together. Pure.

With many slow streams nearly every result would write an entry of its own, which wakes a Redis server for each of them,
and three servers of a cluster.
"""

from __future__ import annotations

from typing import Any

from elastic_inference.adapters.stream_broker.lifetimes import STREAM_AHEAD_S, STREAM_LIFE_S, stream_life_s
from elastic_inference.adapters.stream_broker.stream_meter import StreamMeter
from elastic_inference.domain import keys
from elastic_inference.domain.result import Result

# An entry waits this long for others. The entry of a new stream does not wait.
TOGETHER_S = 0.25
Command = tuple[Any, ...]


class StreamReports:
    """Not thread-safe. Times in `_s` are this process's monotonic ones, `now_ms` is Redis' clock."""

    def __init__(self) -> None:
        self._meter = StreamMeter()
        self._hashes: list[Command] = []
        self._scores: dict[str, int] = {}
        self._at_once = False
        self._written_at = self._cut_at = float("-inf")

    def add(self, result: Result, now_s: float, now_ms: int) -> None:
        """Counts a result; once a second its stream gets a new entry."""
        latency_ms = result.age_ms + result.queue_ms + result.infer_ms
        reading = self._meter.add(result.stream, result.order, latency_ms, now_s)
        if reading is None:
            return
        key = keys.stream_info(result.stream)
        life_ms = int(stream_life_s(reading.fps) * 1000)
        self._hashes += [
            (
                *("HSET", key, "type", result.type, "model", result.model, "precision", result.precision),
                *("device", result.device, "width", result.width, "height", result.height),
                *("fps", f"{reading.fps:.2f}", "latency_ms", f"{reading.latency_ms:.2f}", "pod", result.pod),
                *("seen_ms", now_ms),
            ),
            ("PEXPIRE", key, life_ms),
        ]
        self._scores[result.stream] = now_ms + life_ms
        self._at_once = self._at_once or reading.first

    def commands(self, now_s: float, now_ms: int) -> list[Command]:
        """What to send now; empty if nothing waits, or not yet for long enough."""
        if not self._scores or (now_s - self._written_at < TOGETHER_S and not self._at_once):
            return []
        scores = [part for stream, score in self._scores.items() for part in (score, stream)]
        found = [*self._hashes, ("ZADD", keys.STREAMS, *scores)]
        self._hashes, self._scores, self._at_once, self._written_at = [], {}, False, now_s
        if now_s - self._cut_at >= 1.0:
            self._cut_at = now_s
            # Pods of an older version write the time last seen, so they get the life of a stream.
            found.append(("ZREMRANGEBYSCORE", keys.STREAMS, "-inf", now_ms - int(STREAM_LIFE_S * 1000)))
            found.append(("ZREMRANGEBYSCORE", keys.STREAMS, now_ms + int(STREAM_AHEAD_S * 1000), "+inf"))
        return found
