"""The Horizontal Pod Autoscaler's algorithm, one decision at a time. Pure, no clock.

Source: the controller of Kubernetes 1.36 (`pkg/controller/podautoscaler`, `horizontal.go` and `replica_calculator.go`),
since its documentation, "Horizontal Pod Autoscaling", does not say how starting pods and errors are treated.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Policy:
    """At most `value` pods or percent of change within `period_s` seconds."""

    kind: Literal["Pods", "Percent"]
    value: int
    period_s: float


@dataclass(frozen=True)
class Direction:
    """One half of `behavior`: `select` is `selectPolicy`; without a policy there is no limit."""

    window_s: float
    policies: tuple[Policy, ...]
    select: Literal["Max", "Min", "Disabled"] = "Max"


@dataclass(frozen=True)
class AutoscalerSettings:
    """The settings of an HPA's manifest, and the controller's own period.

    `target` is the wanted mean of the metric over the pods, `tolerance` the share by which it may be off (0.1 by
    default) without a change.
    """

    target: float = 0.8
    tolerance: float = 0.1
    min_replicas: int = 1
    max_replicas: int = 10
    up: Direction = Direction(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)))
    down: Direction = Direction(300.0, (Policy("Percent", 100, 15.0),))
    sync_s: float = 15.0

    def on_target(self, usage: float) -> bool:
        """Whether `usage`, the metric divided by its target, is so near 1 that nothing changes."""
        return 1 - self.tolerance <= usage <= 1 + self.tolerance


def from_pods(
    settings: AutoscalerSettings, current: int, total: float, measured: int, *, missing: int = 0, pending: int = 0
) -> int | None:
    """The replicas that a metric of type Pods requires (`calcPlainMetricReplicas`); None (an error) if no pod has one.

    `total` is the metric's sum over the `measured` pods; `missing` pods run without one, `pending` do not run yet.
    A running pod counts with its metric whether it is Ready or not.
    """
    if measured == 0:
        return None
    usage = _usage(settings, total, measured)
    if missing == 0 and (pending == 0 or usage <= 1):
        return current if settings.on_target(usage) else math.ceil(usage * measured)
    # Running pods without a metric: on target when scaling in, idle when scaling out. Pending ones: idle, or left out.
    every = measured + missing + (pending if usage > 1 else 0)
    again = _usage(settings, total + (settings.target * missing if usage < 1 else 0.0), every)
    wanted = math.ceil(again * every)
    turned = (usage < 1 < again) or (again < 1 < usage) or (again < 1 and wanted > current)
    if settings.on_target(again) or turned or (again > 1 and wanted < current):
        return current
    return wanted


def from_total(settings: AutoscalerSettings, current: int, total: float) -> int:
    """The replicas that an external metric with an average value requires, see `GetExternalPerPodMetricReplicas`.

    KEDA's autoscalers use it. `total` is shared by the `current` pods, at least one, Ready or not.
    """
    milli, target = round(total * 1000), round(settings.target * 1000)
    return current if settings.on_target(milli / (target * current)) else math.ceil(milli / target)


def _usage(settings: AutoscalerSettings, total: float, pods: int) -> float:
    # The controller calculates in whole thousandths.
    return round(total * 1000) // pods / round(settings.target * 1000)


@dataclass
class Autoscaler:
    """An HPA's memory between decisions: recommendations and past changes. Times in seconds, rising."""

    settings: AutoscalerSettings
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)
    _seen: bool = False

    def decide(self, now_s: float, current: int, proposal: int | None) -> int:
        """The number of replicas wanted at `now_s`, with `current` in the deployment.

        `proposal` is the number that the metrics require, None if they are unavailable: then nothing changes, and
        nothing is remembered. The first decision remembers `current`, so that a new autoscaler waits for its windows
        too.
        """
        if not self._seen:
            self._seen = True
            self._recommended.append((now_s, current))
        if proposal is None:
            return current
        wanted = self._limited(now_s, current, self._stabilized(now_s, current, proposal))
        wanted = min(max(wanted, self.settings.min_replicas), self.settings.max_replicas)
        if wanted != current:
            self._changes.append((now_s, wanted - current))
        return wanted

    def _stabilized(self, now_s: float, current: int, wanted: int) -> int:
        up_s, down_s = self.settings.up.window_s, self.settings.down.window_s
        while self._recommended and self._recommended[0][0] <= now_s - max(up_s, down_s):
            self._recommended.popleft()
        lowest = min((value for at, value in self._recommended if at > now_s - up_s), default=wanted)
        highest = max((value for at, value in self._recommended if at > now_s - down_s), default=wanted)
        self._recommended.append((now_s, wanted))
        return min(max(current, min(lowest, wanted)), max(highest, wanted))

    def _limited(self, now_s: float, current: int, wanted: int) -> int:
        up, down = self.settings.up, self.settings.down
        oldest_s = max((policy.period_s for policy in (*up.policies, *down.policies)), default=0.0)
        while self._changes and self._changes[0][0] <= now_s - oldest_s:
            self._changes.popleft()
        if wanted > current and up.policies:
            return min(wanted, max(current, self._limit(up, now_s, current, 1)))
        if wanted < current and down.policies:
            return max(wanted, min(current, self._limit(down, now_s, current, -1)))
        return wanted

    def _limit(self, direction: Direction, now_s: float, current: int, sign: int) -> int:
        if direction.select == "Disabled":
            return current
        limits = [self._reach(policy, now_s, current, sign) for policy in direction.policies]
        return max(limits) if (direction.select == "Max") == (sign > 0) else min(limits)

    def _reach(self, policy: Policy, now_s: float, current: int, sign: int) -> int:
        # The number at the start of the period includes changes of both directions.
        began = current - sum(change for at, change in self._changes if at > now_s - policy.period_s)
        if policy.kind == "Pods":
            return began + sign * policy.value
        reached = began * (1 + sign * policy.value / 100)
        return math.ceil(reached) if sign > 0 else int(reached)
