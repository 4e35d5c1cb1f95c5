"""Measures each camera's cost in CPU seconds per second, from its threads' CPU time. Pure; the caller passes the time.

Called by `children` and `load`.
"""

from __future__ import annotations

from collections import deque

from elastic_inference.domain.camera import COST_ESTIMATE


class Rate:
    """How fast a counter rises, over a window. The counter may start again at zero."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._total = self._last = 0.0
        self._points: deque[tuple[float, float]] = deque()

    def note(self, value: float, now: float) -> None:
        """Records the counter's value at this time."""
        self._total += value - self._last if value >= self._last else value
        self._last = value
        self._points.append((now, self._total))
        while len(self._points) > 2 and now - self._points[1][0] >= self._window_s:
            self._points.popleft()

    def per_second(self) -> float | None:
        """The rate; None until two values a second apart are known."""
        if not self._points:
            return None
        (began, first), (ended, last) = self._points[0], self._points[-1]
        return (last - first) / (ended - began) if ended - began >= 0.9 else None


class Costs:
    """The cost of each camera of a worker."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._rates: dict[str, Rate] = {}

    def note(self, name: str, cpu_s: float, now: float) -> None:
        """Records the CPU seconds that a camera's threads have used so far."""
        self._rates.setdefault(name, Rate(self._window_s)).note(cpu_s, now)

    def of(self, name: str) -> float:
        """The cost of one camera, an estimate until it has been measured."""
        measured = self.measured(name)
        return measured or self.typical() or COST_ESTIMATE

    def measured(self, name: str) -> float | None:
        """The measured cost of one camera; None until it is known."""
        rate = self._rates.get(name)
        return rate.per_second() if rate is not None else None

    def typical(self) -> float:
        """The mean of those that have been measured, 0 if there are none: what a new camera probably costs."""
        known = [cost for rate in self._rates.values() if (cost := rate.per_second()) is not None]
        return sum(known) / len(known) if known else 0.0

    def forget(self, name: str) -> None:
        """Forgets a removed camera."""
        self._rates.pop(name, None)
