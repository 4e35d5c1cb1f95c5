"""The scenarios: demand in pods over time, disturbances, and the right number of pods at the end."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

TARGET = 0.8
Disturbance = tuple[float, str]
# Between two decisions of an autoscaler.
LOOK_EVERY_S = 15.0
# How long each random step lasts: a look, a pod's start, and some rounds in which nothing may change.
HOLD_S = 45.0


@dataclass(frozen=True)
class Step:
    """Times in seconds of the run: the demand rises, and falls again."""

    up_s: float
    down_s: float


@dataclass(frozen=True)
class Scenario:
    """`demand(s)` is in fully used pods. `start` pods run at the beginning; `changed_s` is its last change.

    `disturb` are (second, what): `kill` a pod, `adapter-off`, `adapter-on`, `prometheus-off`, `prometheus-on`,
    `resize-4` (all pods get four times the CPU of their Deployment, in place), `model-NAME` (the API is asked for this
    model, or with `model-reset` for that of the settings). `size` is the factor of the CPU at the beginning.
    `within_s` is the time in which the right number of pods has to be Ready and stay so, without a pod's own start and,
    if pods go, the scale-in window. `turns` is how often the demand itself changes direction. `steps` are judged one
    by one.
    """

    name: str
    autoscaler: str
    start: int
    changed_s: float
    length_s: float
    demand: Callable[[float], float]
    expected: int
    disturb: tuple[Disturbance, ...] = ()
    shipped_windows: bool = False
    # pods that end without a drain lose what they hold
    may_lose: int = 0
    within_s: float = 25.0
    turns: int = 0
    size: float = 1.0
    steps: tuple[Step, ...] = ()

    def resizes(self) -> list[tuple[float, float]]:
        """(second, factor) of each resize, the first at the beginning."""
        later = [
            (at_s, float(what.removeprefix("resize-"))) for at_s, what in self.disturb if what.startswith("resize-")
        ]
        return [(0.0, self.size), *later]

    def changes_models(self) -> bool:
        """Whether the API is asked for models."""
        return any(what.startswith("model-") for _, what in self.disturb)

    def size_at(self, at_s: float) -> float:
        """The factor by which pods are larger than their Deployment says."""
        return [factor for since_s, factor in self.resizes() if at_s >= since_s][-1]


def pods(demand: float) -> int:
    """Demand divided by the target, rounded up."""
    return max(1, math.ceil(demand / TARGET - 1e-9))


def step(before: float, after: float, at_s: float, until_s: float = math.inf) -> Callable[[float], float]:
    """One value, then another, then the first again."""
    return lambda now_s: after if at_s <= now_s < until_s else before


def random_steps(count: int, window_s: float = 60.0, seed: int = 1) -> list[Step]:
    """Steps at moments spread over the round; between two, the pool scales in after its window of `window_s`."""
    chance = random.Random(seed)  # noqa: S311  a test's
    found, at_s = [], 30.0
    for _ in range(count):
        at_s += chance.uniform(0.0, LOOK_EVERY_S)
        found.append(Step(round(at_s, 1), round(at_s, 1) + HOLD_S))
        at_s += HOLD_S + window_s + 2 * LOOK_EVERY_S
    return found


def demand_at(steps: Sequence[Step], low: float, high: float, now_s: float) -> float:
    """The demand of a step while one lasts."""
    return high if any(each.up_s <= now_s < each.down_s for each in steps) else low


# Right for 1 and 4 pods. Three pods under HIGH are beyond the tolerance of 10 % (2.7 / 3 / 0.8 = 1.125), so they
# cannot stay; four leave room for a ratio that reads high.
LOW, HIGH = 0.5, 2.7
STEPS = 20
# For two pods, each of which has half of that to do.
HALF = 1.1
# To a model and back, then to one that cannot be loaded, and to one that does not exist.
MODEL_CHANGES = ((60, "model-blazeface-ir"), (150, "model-reset"), (200, "model-broken"), (235, "model-no-such-model"))
# After the window: a decision within 15 s, a pod's drain, and KEDA's own poll of a type without demand.
GOES_S = 60.0
# For a part of the metrics chain to come back: its own start, and Prometheus' first samples.
MENDS_S = 60.0


def default(hold_s: float = 600.0) -> list[Scenario]:
    """Step up and hold, step down, from zero and back, a pod killed, pods that grow and shrink, models that change."""
    return [
        Scenario("step-up", "hpa-ratio", 1, 60, 60 + hold_s, step(LOW, HIGH, 60), pods(HIGH)),
        Scenario("step-down", "hpa-ratio", 4, 60, 300, step(HIGH, LOW, 60), 1, within_s=GOES_S),
        Scenario("pod-killed", "hpa-ratio", 3, 45, 150, step(1.9, 1.9, 0), 3, ((45, "kill"),), may_lose=64),
        Scenario("from-zero", "keda", 0, 120, 240, step(0.0, LOW, 30, 120), 0, within_s=GOES_S, turns=1),
        Scenario("from-zero-push", "keda-push", 0, 120, 240, step(0.0, LOW, 30, 120), 0, within_s=GOES_S, turns=1),
        Scenario("step-up-keda", "keda", 1, 40, 160, step(LOW, HIGH, 40), pods(HIGH)),
        Scenario("resize-up", "hpa-ratio", 4, 60, 240, step(HIGH, HIGH, 0), 1, ((60, "resize-4"),), within_s=GOES_S),
        Scenario("resize-down", "hpa-ratio", 1, 60, 240, step(HIGH, HIGH, 0), pods(HIGH), ((60, "resize-1"),), size=4),
        Scenario("model-switch", "hpa-ratio", 2, 60, 270, step(HALF, HALF, 0), 2, MODEL_CHANGES),
    ]


def further(window_s: float = 60.0, steps: int = STEPS, seed: int = 1, high: float = HIGH) -> list[Scenario]:
    """What `--all` adds, for a scale-in window of `window_s`. The steps at random are `steps`, at moments by `seed`.

    `high` is the demand to which they rise, in fully used pods.
    """
    found = []
    for autoscaler in ("hpa-ratio", "keda"):
        keda = autoscaler == "keda"
        suffix = "-keda" if keda else ""
        middle = "prometheus" if keda else "adapter"
        chain = step(LOW, HIGH, 120)
        found += [
            Scenario(f"ramp{suffix}", autoscaler, 1, 270, 400, _ramp, 4),
            Scenario(
                f"burst{suffix}", autoscaler, 1, 70, 300, step(LOW, HIGH, 60, 70), 1, within_s=GOES_S + 60, turns=1
            ),
            Scenario(
                f"all-gone{suffix}", autoscaler, 4, 60, 300, step(HIGH, 0.0, 60), 0 if keda else 1, within_s=GOES_S
            ),
            Scenario(
                f"{middle}-down{suffix}",
                autoscaler,
                1,
                240,
                420,
                chain,
                4,
                ((90, f"{middle}-off"), (240, f"{middle}-on")),
                within_s=MENDS_S,
            ),
        ]
    return [
        *found,
        Scenario(
            "prometheus-down",
            "hpa-ratio",
            1,
            240,
            420,
            step(LOW, HIGH, 120),
            4,
            ((90, "prometheus-off"), (240, "prometheus-on")),
            within_s=MENDS_S,
        ),
        Scenario(
            "shipped-windows", "hpa-ratio", 4, 60, 600, step(HIGH, LOW, 60), 1, shipped_windows=True, within_s=GOES_S
        ),
        Scenario(
            "shipped-windows-keda", "keda", 4, 60, 600, step(HIGH, LOW, 60), 1, shipped_windows=True, within_s=GOES_S
        ),
        _steps_at_random(window_s, steps, seed, high),
        Scenario("step-up-keda-push", "keda-push", 1, 40, 160, step(LOW, HIGH, 40), pods(HIGH)),
        Scenario("step-down-keda", "keda", 4, 60, 300, step(HIGH, LOW, 60), 1, within_s=GOES_S),
        # For comparison: it has to probe, so the only bar is that no frame is lost.
        Scenario("step-up-cpu", "hpa-cpu", 1, 60, 420, step(LOW, HIGH, 60), pods(HIGH)),
    ]


def _steps_at_random(window_s: float, count: int, seed: int, high: float) -> Scenario:
    """20 steps take some 50 minutes, 40 with a window of 30 s. `tests.elasticity.steps` has its bars."""
    steps = tuple(random_steps(count, window_s, seed))
    last_s = steps[-1].down_s
    return Scenario(
        "step-at-random",
        "hpa-ratio",
        1,
        last_s,
        last_s + 180,
        lambda now_s: demand_at(steps, LOW, high, now_s),
        1,
        within_s=GOES_S,
        turns=2 * len(steps) - 1,
        steps=steps,
    )


def _ramp(now_s: float) -> float:
    return LOW + (HIGH - LOW) * min(1.0, max(0.0, (now_s - 30) / 240))
