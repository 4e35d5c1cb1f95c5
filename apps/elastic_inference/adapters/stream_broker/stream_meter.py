"""Frames per second and latency of each stream that a pod sees. Pure: fed with results and times.

The rate comes from the progress of `order`, which counts a stream's frames over all pods. So every pod computes the
rate of the whole stream, not of its own share, without asking the others. Popped frames that could not be decoded count
too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 5.0
REPORT_EVERY_S = 1.0
FORGET_AFTER_S = 600.0
# An `order` that changes faster than this belongs to a new counter, after Redis lost the previous one.
_FASTEST_FPS = 10_000.0


@dataclass(slots=True)
class StreamReading:
    """Rate and latency of one stream, to be reported. `first`: it was not reported before."""

    fps: float
    latency_ms: float
    first: bool = False


@dataclass(slots=True)
class _Stream:
    """The history of one stream: `points` are (time, highest order) of the last 5 s."""

    points: deque[tuple[float, int]] = field(default_factory=deque)
    reported_at: float | None = None
    seen_at: float = 0.0
    top: int = 0
    latency_sum_ms: float = 0.0
    latency_count: int = 0


class StreamMeter:
    """Rates and latencies of all streams of a pod. Not thread-safe. Forgets streams not seen for ten minutes."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._swept_at = 0.0

    def add(self, stream_id: str, order: int, latency_ms: float, now_s: float) -> StreamReading | None:
        """Adds one result; returns its stream's reading once a second, otherwise None."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = _Stream()
        stream.seen_at = now_s
        stream.latency_sum_ms += latency_ms
        stream.latency_count += 1
        if stream.points and self._was_reset(stream, order, now_s):
            stream.points.clear()
            stream.top = order
        stream.top = max(stream.top, order)
        if stream.reported_at is not None and now_s - stream.reported_at < REPORT_EVERY_S:
            return None
        stream.points.append((now_s, stream.top))
        while len(stream.points) > 2 and now_s - stream.points[1][0] >= WINDOW_S:
            stream.points.popleft()
        first_s, first_order = stream.points[0]
        fps = (stream.top - first_order) / (now_s - first_s) if now_s > first_s else 0.0
        reading = StreamReading(fps, stream.latency_sum_ms / stream.latency_count, stream.reported_at is None)
        stream.reported_at = now_s
        stream.latency_sum_ms, stream.latency_count = 0.0, 0
        self._sweep(now_s)
        return reading

    def __len__(self) -> int:
        return len(self._streams)

    @staticmethod
    def _was_reset(stream: _Stream, order: int, now_s: float) -> bool:
        last_s, last_order = stream.points[-1]
        return abs(order - last_order) > _FASTEST_FPS * (now_s - last_s + 1.0)

    def _sweep(self, now_s: float) -> None:
        if now_s - self._swept_at < FORGET_AFTER_S:
            return
        self._swept_at = now_s
        for stream_id in [key for key, stream in self._streams.items() if now_s - stream.seen_at > FORGET_AFTER_S]:
            del self._streams[stream_id]
