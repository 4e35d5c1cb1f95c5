"""How long the entries of the registry live, by Redis' clock. Pure; used by those who write and those who read them."""

from __future__ import annotations

STREAM_LIFE_S = 10.0
# Entries of the sorted sets are removed at this age, so a stream slower than one frame in 200 s comes and goes.
LONGEST_LIFE_S = 600.0
WORKER_LIFE_S = 15.0
WATCH_LIFE_S = 10.0
# Pods write times by Redis' clock, which they read every second. A time further in the future than this was written
# before that clock was set back, so its stream or pod has ended.
FUTURE_LIMIT_S = 15.0
# Limits of the scores: a stream's score is the time when its hash expires, a pod's is when it was last seen.
STREAM_AHEAD_S = LONGEST_LIFE_S + FUTURE_LIMIT_S
WORKER_AHEAD_S = FUTURE_LIMIT_S


def stream_life_s(fps: float) -> float:
    """How long a stream stays listed after its last frame: 10 s or three frame intervals, at most 600 s."""
    return max(STREAM_LIFE_S, min(3.0 / fps, LONGEST_LIFE_S)) if fps > 0 else STREAM_LIFE_S


def lies_ahead(time_s: float, now_s: float) -> bool:
    """Whether a time is in the future by Redis' clock `now_s`; its stream or pod counts as ended."""
    return time_s > now_s + FUTURE_LIMIT_S
