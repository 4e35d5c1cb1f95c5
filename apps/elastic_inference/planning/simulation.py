"""The control loop faster than real time: cameras' demand, pods, the ratio's window, scrapes, the adapter, the HPA.

One type at a time, one step a second; pods of one type are alike, so that hours of hundreds of pods take seconds.
Called by the sweep that chose the shipped settings and by the tests. No Redis, no Kubernetes.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from elastic_inference.planning.autoscaler import Autoscaler, AutoscalerSettings

Demand = Callable[[float], float]


@dataclass(frozen=True)
class World:
    """What surrounds the autoscaler. Times in seconds.

    `pod_fps` is what one pod can do; `start_s` from a pod's creation to Ready; `window_s` that of the ratio;
    `scrape_s` and `query_s` how old a metric gets in Prometheus and in the adapter; `noise` the relative standard
    deviation of a measured ratio; `metrics_away` spans without metrics.
    """

    pod_fps: float = 20.0
    start_s: float = 8.0
    window_s: float = 5.0
    scrape_s: float = 5.0
    query_s: float = 10.0
    noise: float = 0.03
    queue_s: float = 2.0
    keda: bool = False
    polling_s: float = 15.0
    cooldown_s: float = 120.0
    metrics_away: tuple[tuple[float, float], ...] = ()
    pod_killed_at: tuple[float, ...] = ()


@dataclass
class Step:
    """One second of the outcome; `ratio` is what the autoscaler saw."""

    at_s: float
    demand_fps: float
    capacity_fps: float
    ratio: float
    replicas: int
    ready: int
    dropped_fps: float


@dataclass
class Outcome:
    """A whole run."""

    steps: list[Step] = field(default_factory=list)

    @property
    def frames(self) -> float:
        """Frames offered."""
        return sum(step.demand_fps for step in self.steps)

    @property
    def dropped_part(self) -> float:
        """Part of the frames that were dropped, 0..1."""
        return sum(step.dropped_fps for step in self.steps) / self.frames if self.frames else 0.0

    @property
    def pod_hours(self) -> float:
        """Pods paid for."""
        return sum(step.replicas for step in self.steps) / 3600

    def changes(self) -> list[tuple[float, int, int]]:
        """(time, from, to) of each change of the replicas."""
        found = []
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if before.replicas != after.replicas:
                found.append((after.at_s, before.replicas, after.replicas))
        return found

    def taken_back(self, within_s: float = 300.0) -> int:
        """Scale-ins that a scale-out reversed within `within_s` although the demand had not risen by a tenth."""
        count = 0
        changes = self.changes()
        for index, (at_s, before, after) in enumerate(changes):
            if after >= before:
                continue
            for later_s, _, later in changes[index + 1 :]:
                if later_s - at_s > within_s:
                    break
                if later >= before:
                    demand_then, demand_now = self._demand(at_s), self._demand(later_s)
                    count += demand_now <= demand_then * 1.1
                    break
        return count

    def settled_s(self, since_s: float, replicas: int) -> float | None:
        """Seconds from `since_s` until `replicas` were Ready and stayed so to the end; None when they never were."""
        settled: float | None = None
        for step in self.steps:
            if step.at_s < since_s:
                continue
            if step.ready == replicas and step.replicas == replicas:
                settled = step.at_s - since_s if settled is None else settled
            else:
                settled = None
        return settled

    def _demand(self, at_s: float) -> float:
        around = [step.demand_fps for step in self.steps if abs(step.at_s - at_s) <= 15]
        return sum(around) / len(around) if around else 0.0


class _Pool:
    """Pods by the time at which they are Ready; Kubernetes ends the youngest first, those not Ready before others."""

    def __init__(self, replicas: int) -> None:
        self.ready_at: list[float] = [0.0] * replicas

    def resize(self, replicas: int, now_s: float, start_s: float) -> None:
        self.ready_at = sorted(self.ready_at)[:replicas]
        self.ready_at += [now_s + start_s] * (replicas - len(self.ready_at))

    def ready(self, now_s: float) -> int:
        return sum(at <= now_s for at in self.ready_at)


def simulate(
    settings: AutoscalerSettings, world: World, demand: Demand, duration_s: float, *, replicas: int = 1, seed: int = 1
) -> Outcome:
    """Runs the loop for `duration_s` seconds from `replicas` pods; the same seed gives the same run."""
    chance = random.Random(seed)  # noqa: S311  a simulation
    pool, autoscaler, outcome = _Pool(replicas), Autoscaler(settings), Outcome()
    window: deque[tuple[float, float]] = deque(maxlen=max(1, round(world.window_s)))
    scraped: deque[tuple[float, list[float]]] = deque(maxlen=64)
    seen: list[float] = []
    offset_s = chance.uniform(0, settings.sync_s)
    waiting, idle_since = 0.0, None if replicas else 0.0
    for second in range(int(duration_s)):
        now_s = float(second)
        if now_s in world.pod_killed_at and pool.ready_at:
            pool.ready_at[0] = now_s + world.start_s
        offered, ready = demand(now_s), pool.ready(now_s)
        capacity = ready * world.pod_fps
        done = min(offered + waiting, capacity)
        left = offered + waiting - done
        waiting = min(left, offered * world.queue_s)
        dropped = left - waiting
        window.append((offered, capacity))
        if second % max(1, round(world.scrape_s)) == 0:
            scraped.append((now_s, _ratios(window, ready, world.noise, chance)))
        away = any(begin <= now_s < end for begin, end in world.metrics_away)
        idle_since = None if offered + waiting > 0 else (now_s if idle_since is None else idle_since)
        if (now_s - offset_s) % settings.sync_s < 1:
            seen = [] if away else _fresh(scraped, now_s - chance.uniform(0, world.query_s))
            current = len(pool.ready_at)
            if current > 0:
                measured = [value for value in seen if not math.isnan(value)][:ready]
                wanted = autoscaler.decide(now_s, current, measured, current - len(measured))
                pool.resize(wanted, now_s, world.start_s)
        if world.keda and second % max(1, round(world.polling_s)) == 0:
            if not pool.ready_at and offered + waiting > 0:
                pool.resize(1, now_s, world.start_s)
            elif pool.ready_at and idle_since is not None and now_s - idle_since >= world.cooldown_s:
                pool.resize(0, now_s, world.start_s)
        outcome.steps.append(
            Step(
                at_s=now_s,
                demand_fps=offered,
                capacity_fps=capacity,
                ratio=sum(seen) / len(seen) if seen else math.nan,
                replicas=len(pool.ready_at),
                ready=ready,
                dropped_fps=dropped,
            )
        )
    return outcome


def _ratios(window: deque[tuple[float, float]], ready: int, noise: float, chance: random.Random) -> list[float]:
    offered = sum(each[0] for each in window)
    capacity = sum(each[1] for each in window)
    if ready == 0 or capacity == 0:
        return []
    return [max(0.0, offered / capacity * chance.gauss(1.0, noise)) for _ in range(ready)]


def _fresh(scraped: deque[tuple[float, list[float]]], at_s: float) -> list[float]:
    for when_s, values in reversed(scraped):
        if when_s <= at_s:
            return values
    return []
