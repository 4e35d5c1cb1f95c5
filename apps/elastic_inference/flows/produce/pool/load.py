"""The load of a source worker, and the ratio for the autoscaler. Pure; the caller passes the time.

Called by `source_worker`.
"""

from __future__ import annotations

from collections.abc import Iterable

from elastic_inference.domain.leases import NoWorker, Unassigned
from elastic_inference.domain.scale_ratio import scale_ratio
from elastic_inference.flows.produce.pool.costs import Rate


class Load:
    """The CPU that this process and its children use, over a window."""

    def __init__(self, capacity: float, window_s: float) -> None:
        """`capacity` in cores."""
        self.capacity = capacity
        self._window_s = window_s
        self._rates: dict[int, Rate] = {}

    def note(self, cpu_s: Iterable[tuple[int, float]], now: float) -> None:
        """Records (number, CPU seconds so far) of each running process."""
        found = dict(cpu_s)
        self._rates = {number: rate for number, rate in self._rates.items() if number in found}
        for number, used in found.items():
            self._rates.setdefault(number, Rate(self._window_s)).note(used, now)

    @property
    def used(self) -> float:
        """The CPU used, in cores."""
        return sum(rate.per_second() or 0.0 for rate in self._rates.values())

    def scale_ratio(self, unassigned: Iterable[Unassigned], workers: int) -> float:
        """CPU used, plus this worker's share of the cameras that nobody runs, over CPU available.

        A camera that is too large for any worker does not count: more of them would not help.
        """
        missing = sum(each.cost for each in unassigned if each.why is not NoWorker.LARGE)
        return scale_ratio(self.used + missing / max(1, workers), self.capacity)
