"""The Horizontal Pod Autoscaler's documented algorithm, one decision at a time. Pure, no clock.

Source: Kubernetes documentation, "Horizontal Pod Autoscaling" (algorithm details, configurable scaling behaviour,
stabilization window, tolerance) and the API's defaults of `autoscaling/v2`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Policy:
    """At most `value` pods or percent of change within `period_s` seconds."""

    kind: str  # "Pods" or "Percent"
    value: int
    period_s: float


@dataclass(frozen=True)
class Direction:
    """One half of `behavior`: the most generous policy counts (`selectPolicy: Max`)."""

    window_s: float
    policies: tuple[Policy, ...]


@dataclass(frozen=True)
class AutoscalerSettings:
    """What stands in an HPA's manifest, and the controller's own pace.

    `target` is the wanted average of the metric over the pods, `tolerance` the part by which it may be off without a
    change (0.1 by default).
    """

    target: float = 0.8
    tolerance: float = 0.1
    min_replicas: int = 1
    max_replicas: int = 10
    up: Direction = Direction(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)))
    down: Direction = Direction(300.0, (Policy("Percent", 100, 15.0),))
    sync_s: float = 15.0


@dataclass
class Autoscaler:
    """An HPA's memory between decisions: recommendations and past changes. Times in seconds, rising."""

    settings: AutoscalerSettings
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, now_s: float, current: int, ready: Sequence[float], not_ready: int) -> int:
        """The number of replicas wanted at `now_s`.

        `current` is the deployment's replicas, `ready` the metric of each Ready pod that has one, `not_ready` the pods
        without (starting, or not scraped yet). With no metric at all nothing changes, as the controller does.
        """
        wanted = self._from_metric(current, ready, not_ready)
        wanted = self._stabilized(now_s, current, wanted)
        wanted = self._limited(now_s, current, wanted)
        wanted = min(max(wanted, self.settings.min_replicas), self.settings.max_replicas)
        if wanted != current:
            self._changes.append((now_s, wanted - current))
        return wanted

    def _from_metric(self, current: int, ready: Sequence[float], not_ready: int) -> int:
        if not ready:
            return current
        target, tolerance = self.settings.target, self.settings.tolerance
        usage = sum(ready) / len(ready) / target
        if not_ready == 0:
            return current if abs(usage - 1) <= tolerance else math.ceil(usage * len(ready) - 1e-9)
        # Pods without a metric count as idle when scaling out, and as exactly on target when scaling in.
        assumed = 0.0 if usage > 1 else target
        every = len(ready) + not_ready
        again = (sum(ready) + assumed * not_ready) / every / target
        if abs(again - 1) <= tolerance or (usage > 1) != (again > 1):
            return current
        wanted = math.ceil(again * every - 1e-9)
        if (again < 1 and wanted > current) or (again > 1 and wanted < current):
            return current
        return wanted

    def _stabilized(self, now_s: float, current: int, wanted: int) -> int:
        longest = max(self.settings.up.window_s, self.settings.down.window_s)
        self._recommended.append((now_s, wanted))
        while self._recommended and self._recommended[0][0] < now_s - longest:
            self._recommended.popleft()
        lowest = min(value for at, value in self._recommended if at >= now_s - self.settings.up.window_s)
        highest = max(value for at, value in self._recommended if at >= now_s - self.settings.down.window_s)
        return min(max(current, lowest), highest) if lowest <= highest else wanted

    def _limited(self, now_s: float, current: int, wanted: int) -> int:
        up, down = self.settings.up.policies, self.settings.down.policies
        oldest = max((policy.period_s for policy in (*up, *down)), default=0.0)
        while self._changes and self._changes[0][0] < now_s - oldest:
            self._changes.popleft()
        if wanted > current and up:
            return min(wanted, max(current, *(self._highest(policy, now_s, current) for policy in up)))
        if wanted < current and down:
            return max(wanted, min(current, *(self._lowest(policy, now_s, current) for policy in down)))
        return wanted

    def _highest(self, policy: Policy, now_s: float, current: int) -> int:
        added = sum(change for at, change in self._changes if change > 0 and at > now_s - policy.period_s)
        began = current - added
        if policy.kind == "Pods":
            return began + policy.value
        return math.ceil(began * (1 + policy.value / 100))

    def _lowest(self, policy: Policy, now_s: float, current: int) -> int:
        removed = -sum(change for at, change in self._changes if change < 0 and at > now_s - policy.period_s)
        began = current + removed
        if policy.kind == "Pods":
            return began - policy.value
        return math.floor(began * (1 - policy.value / 100))
