"""The control loop, faster than real time: demand, pods, the ratio's window, scrapes, the adapter, the HPA.

It simulates one type, one second per step. Pods of one type are alike, so hours of hundreds of pods take seconds.
Used by the sweep that chose the default settings, and by tests. Independent of Redis and Kubernetes.
"""

from __future__ import annotations

import itertools
import math
import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from elastic_inference.flows.inference.demand import FIRST_SPAN_S, JOINS_S, RISE_S, SHARE_S, change_of
from elastic_inference.flows.inference.utilisation import FULL_BUSY
from tests.simulation.autoscaler import Autoscaler, AutoscalerSettings, from_pods, from_total

Demand = Callable[[float], float]


@dataclass(frozen=True)
class World:
    """What surrounds the autoscaler. Times in seconds."""

    pod_fps: float = 20.0
    """What one pod can do."""
    start_s: float = 8.0
    """From a pod's creation to Ready; it does not run in the first `pending_s` of it."""
    pending_s: float = 2.0
    pod_killed_at: tuple[float, ...] = ()
    window_s: int = 5
    """The window of the ratio."""
    scrape_s: int = 5
    """Between Prometheus' scrapes; both autoscalers query it whenever they decide."""
    outages: tuple[tuple[float, float], ...] = ()
    """Spans without metrics, after which Prometheus starts empty, and reads one pod after the other."""
    whole: bool = True
    """With KEDA: no value while registered pods have not been scraped."""
    noise: float = 0.03
    """Relative standard deviation of a measured ratio."""
    reads: float = 1.0
    """Factor by which a pod that is not full reads its ratio too high."""
    queue_s: float = 0.27
    """How long a frame can wait: 4 frames of a camera of 15 fps."""
    keda: bool = False
    """Use the sum of the ratios instead of the mean, start from zero and return to it, polling every `polling_s`."""
    polling_s: int = 3
    push: bool = False
    """With KEDA: a type without pods is woken by its first frame, and does not wait for a poll."""
    cooldown_s: float = 120.0


class Step(NamedTuple):
    """One second of the outcome; `ratio` is the mean over the pods of Prometheus' last scrape."""

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
        """Pods multiplied by the hours for which they were paid."""
        return sum(step.replicas for step in self.steps) / 3600

    def changes(self) -> list[tuple[float, int, int]]:
        """(time, from, to) of each change of the replicas."""
        found = []
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if before.replicas != after.replicas:
                found.append((after.at_s, before.replicas, after.replicas))
        return found

    def reversals(self, within_s: float = 300.0) -> int:
        """Scale-ins that a scale-out reversed within `within_s`, though the demand had not risen by a tenth."""
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
        """Seconds from `since_s` until `replicas` were Ready and stayed so to the end; None if they never were."""
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
        begun_s = self.steps[0].at_s
        around = self.steps[max(0, int(at_s - begun_s) - 15) : int(at_s - begun_s) + 16]
        return sum(step.demand_fps for step in around) / len(around)


class _Pool:
    """Pods in the order in which they become Ready; Kubernetes ends those not Ready, and the youngest, first."""

    def __init__(self, replicas: int, world: World) -> None:
        self._start_s, self._pending_s = world.start_s, world.pending_s
        self.ready_at: list[float] = [-math.inf] * replicas

    def __len__(self) -> int:
        return len(self.ready_at)

    def resize(self, replicas: int, now_s: float) -> None:
        del self.ready_at[replicas:]
        self.ready_at += [now_s + self._start_s] * (replicas - len(self.ready_at))

    def kill(self, now_s: float) -> None:
        """One pod ends, and a new one replaces it."""
        if self.ready_at:
            del self.ready_at[0]
            self.ready_at.append(now_s + self._start_s)

    def ready(self, now_s: float) -> int:
        return bisect_right(self.ready_at, now_s)

    def running(self, now_s: float) -> int:
        return bisect_right(self.ready_at, now_s + max(0.0, self._start_s - self._pending_s))


class _Metrics:
    """The ratio of each pod over its own window, and Prometheus' last scrape of them."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world, self._chance = world, chance
        # each second's frames, and how many pods were Ready
        self._seconds: deque[tuple[float, int]] = deque(maxlen=max(world.window_s, 2))
        # the last scrape: sum of the ratios and number of pods; None before the first
        self._last: tuple[float, int] | None = None
        self._phase = chance.randrange(world.scrape_s)
        # the second in which the last outage ended
        self._back_s = -world.scrape_s
        self._partial = False

    def second(self, at_s: int, pool: _Pool, ready: int, offered: float) -> None:
        """Adds one second's frames, and scrapes when it is time."""
        self._seconds.append((offered, ready))
        if self.world.outages and self.unavailable(at_s):
            self._last, self._back_s = None, at_s + 1
            return
        read = at_s - self._back_s + 1
        self._partial = read < self.world.scrape_s
        if read <= self.world.scrape_s:
            scraped = ready * read // self.world.scrape_s
            self._last = (self._sum(at_s, pool, ready) * scraped / ready, scraped) if scraped else None
        elif at_s % self.world.scrape_s == self._phase:
            self._last = self._sum(at_s, pool, ready), ready

    def unavailable(self, at_s: float) -> bool:
        """Whether metrics are unavailable."""
        return any(begin <= at_s < end for begin, end in self.world.outages)

    def last(self) -> tuple[float, int]:
        """The sum of the ratios, and the number of pods."""
        return self._last or (0.0, 0)

    def total(self, replicas: int) -> float | None:
        """The result of KEDA's query: a type with pods but without all ratios is an error (kubernetes/scale/keda)."""
        if self._last is None or (replicas and not self._last[1]) or (self._partial and self.world.whole):
            return None if replicas else 0.0
        return self._last[0]

    def _sum(self, now_s: int, pool: _Pool, ready: int) -> float:
        if not ready:
            return 0.0
        # A pod that has just joined others asks for nothing yet, unless it is nearly full.
        share_fps = self._demand_fps(int(min(now_s - pool.ready_at[0] + 1, self.world.window_s))) * self._share(ready)
        waits_s = SHARE_S if share_fps >= FULL_BUSY * self.world.pod_fps else JOINS_S
        grown = bisect_right(pool.ready_at, now_s + 1 - waits_s, 0, ready) if ready > 1 else 1
        ratio = share_fps / self.world.pod_fps
        ratio = ratio if ratio >= 1 else min(1.0, ratio * self.world.reads)
        return grown * max(0.0, ratio * self._chance.gauss(1.0, self.world.noise / math.sqrt(grown))) if grown else 0.0

    def _demand_fps(self, age_s: int) -> float:
        """What arrives since the last rise, or over the window; of that, what the oldest pod has seen."""
        seconds = list(self._seconds)[-age_s:]
        if len(seconds) > RISE_S + 1:
            counts = list(itertools.accumulate((each[0] for each in seconds), initial=0.0))
            begin = change_of(list(enumerate(counts)), range(len(counts)), up_only=True)
            if begin is not None:
                return (counts[-1] - counts[begin]) / (len(counts) - 1 - begin)
        frames = sum(each[0] for each in seconds)
        return frames / max(len(seconds), min(FIRST_SPAN_S, self.world.window_s))

    def _share(self, ready: int) -> float:
        """What an old pod gets: pods that joined or left show after a second."""
        before = self._seconds[-2][1] if len(self._seconds) > 1 else ready
        return 1 / (before or ready)


class _Keda:
    """KEDA's own part: starts from zero if a trigger is active, returns to zero if none was for the cooldown."""

    def __init__(self, world: World) -> None:
        self._cooldown_s = world.cooldown_s
        self._active_s = 0.0

    def poll(self, now_s: float, replicas: int, waiting: float, ratios: float | None) -> int:
        """The wanted replicas. `waiting` frames are in the queue; `ratios` is their sum, None if unavailable."""
        if waiting > 0 or (ratios or 0.0) > 0:
            self._active_s = now_s
            return max(1, replicas)
        if ratios is None or now_s - self._active_s <= self._cooldown_s:
            return replicas
        return 0


def simulate(
    settings: AutoscalerSettings,
    world: World,
    demand: Demand,
    duration_s: float,
    *,
    replicas: int = 1,
    seed: int = 1,
    first_look_s: float | None = None,
) -> Outcome:
    """Runs the loop for `duration_s` seconds from `replicas` pods; the same seed gives the same run.

    The autoscaler decides first at `first_look_s`, by default some time within its first 15 s.
    """
    chance = random.Random(seed)  # noqa: S311  a simulation
    pool, autoscaler, outcome = _Pool(replicas, world), Autoscaler(settings), Outcome()
    metrics, keda = _Metrics(world, chance), _Keda(world)
    look_s = chance.uniform(0, settings.sync_s) if first_look_s is None else first_look_s
    waiting = 0.0
    for second in range(int(duration_s)):
        if second in world.pod_killed_at:
            pool.kill(second)
        offered, ready = demand(second), pool.ready(second)
        capacity = ready * world.pod_fps
        done = min(offered + waiting, capacity)
        left = offered + waiting - done
        waiting = min(left, offered * world.queue_s)
        dropped = left - waiting
        metrics.second(second, pool, ready, offered)
        if second >= look_s:
            look_s += settings.sync_s
            # an HPA does nothing while there are no replicas
            if len(pool):
                proposal = _proposal(settings, metrics, pool, second, waiting)
                pool.resize(autoscaler.decide(second, len(pool), proposal), second)
        pushed = world.push and waiting > 0 and not len(pool)
        if world.keda and (pushed or second % world.polling_s == 0):
            ratios = None if metrics.unavailable(second) else metrics.total(ready)
            pool.resize(keda.poll(second, len(pool), waiting, ratios), second)
        total, pods = metrics.last()
        ratio = total / pods if pods else math.nan
        outcome.steps.append(Step(second, offered, capacity, ratio, len(pool), ready, dropped))
    return outcome


def _proposal(settings: AutoscalerSettings, metrics: _Metrics, pool: _Pool, now_s: int, waiting: float) -> int | None:
    if metrics.unavailable(now_s):
        return None
    if metrics.world.keda:
        asked = metrics.total(pool.ready(now_s))
        # The lengths of the queue are far below their targets, so they ask for one pod.
        return None if asked is None else max(from_total(settings, len(pool), asked), int(waiting > 0))
    total, pods = metrics.last()
    running = pool.running(now_s)
    measured = min(pods, running)
    total *= measured / pods if pods else 0.0
    return from_pods(settings, len(pool), total, measured, missing=running - measured, pending=len(pool) - running)
