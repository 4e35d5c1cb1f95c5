"""How many legacy frames a pod pops while frames of the fair queue wait. Pure.

The name of a legacy frame's stream is inside its message, so legacy frames cannot queue by stream. They get the share
that their streams have among all streams that this pod saw recently: at most half of what it pops.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class _RecentNames:
    """Names seen in the last one to two windows."""

    window_s: float
    _since: float = 0.0
    _now: set[str] = field(default_factory=set)
    _before: set[str] = field(default_factory=set)

    def add(self, name: str, now: float) -> None:
        self._turn(now)
        self._now.add(name)

    def count(self, now: float) -> int:
        self._turn(now)
        return len(self._now | self._before) if self._before else len(self._now)

    def _turn(self, now: float) -> None:
        if now - self._since >= self.window_s:
            self._before = self._now if now - self._since < 2 * self.window_s else set()
            self._now = set()
            self._since = now


class LegacyShare:
    """Gives legacy frames their turns; fractions carry over from pop to pop."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._legacy = _RecentNames(window_s)
        self._fair = _RecentNames(window_s)
        self._credit = 0.0

    def saw_legacy(self, name: str, now: float) -> None:
        """Records that a legacy frame of this stream was popped."""
        self._legacy.add(name, now)

    def saw_fair(self, name: str, now: float) -> None:
        """Records that a frame of this stream was popped from the fair queue."""
        self._fair.add(name, now)

    def turns(self, max_frames: int, now: float) -> int:
        """Legacy frames that the next pop of `max_frames` may hold while others wait: at most half, over time."""
        legacy = max(1, self._legacy.count(now))
        share = min(0.5, legacy / (legacy + max(1, self._fair.count(now))))
        # Turns that an earlier pop could not use are kept for one pop only.
        self._credit = min(self._credit, 1.0) + max_frames * share
        return min(int(self._credit), max(1, max_frames // 2))

    def spend(self, frames: int) -> None:
        """Records that `frames` legacy frames were popped while others waited."""
        self._credit = max(0.0, self._credit - frames)
