"""The sweep that chose the shipped target, window and policies: every combination through the same demands.

`python -m elastic_inference.planning.sweep` prints it as Markdown; `make plots` puts it into the documentation.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from elastic_inference.planning.autoscaler import AutoscalerSettings, Direction, Policy
from elastic_inference.planning.simulation import Demand, World, simulate

TARGETS = (0.6, 0.7, 0.8, 0.9)
WINDOWS_S = (0.0, 60.0, 120.0, 300.0)
# What Kubernetes does by default, and what kubernetes/parts/scale-behaviour.part says.
POLICIES = {
    "default": (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)),
    "shipped": (Policy("Percent", 400, 15.0), Policy("Pods", 8, 15.0)),
}
SHIPPED = (0.8, 300.0, "shipped")
POD_FPS = 40.0
MAX_REPLICAS = 1000
DAY_S = 10 * 3600.0


@dataclass(frozen=True)
class Case:
    """A demand in frames a second over `length_s`, from `start` pods, with measuring noise."""

    name: str
    demand: Demand
    length_s: float
    start: int
    noise: float


@dataclass(frozen=True)
class Verdict:
    """One combination over all cases. `surplus` is pods paid for beyond what the frames needed at the target of 1."""

    target: float
    window_s: float
    policy: str
    taken_back: int
    dropped_part: float
    surplus: float
    slowest_step_s: float

    @property
    def shipped(self) -> bool:
        """Whether these are the shipped settings."""
        return (self.target, self.window_s, self.policy) == SHIPPED


def settings(target: float, window_s: float, policy: str) -> AutoscalerSettings:
    """An autoscaler's settings for one combination."""
    return AutoscalerSettings(
        target=target,
        max_replicas=MAX_REPLICAS,
        up=Direction(0.0, POLICIES[policy]),
        down=Direction(window_s, (Policy("Percent", 100, 15.0),)),
    )


def working_day(cameras: int, fps: float, seed: int) -> Demand:
    """Cameras that send while something moves: a morning, a lull at noon, an evening; each minute a bit other."""
    chance = random.Random(seed)  # noqa: S311  a simulation
    minutes = [1 + chance.uniform(-0.04, 0.04) for _ in range(int(DAY_S / 60) + 2)]

    def demand(now_s: float) -> float:
        hour = now_s / 3600
        share = 0.15 + 0.75 * math.exp(-((hour - 2.5) ** 2) / 1.2) + 0.65 * math.exp(-((hour - 7.5) ** 2) / 1.8)
        minute, rest = divmod(now_s / 60, 1)
        wobble = minutes[int(minute)] * (1 - rest) + minutes[int(minute) + 1] * rest
        return cameras * fps * min(1.0, share) * wobble

    return demand


def cases(day_s: float = DAY_S) -> Iterator[Case]:
    """A small and a large site over a working day, noisy pods, a burst every ten minutes, steps up and down."""
    yield Case("day, 16 cameras", working_day(16, 15.0, 1), day_s, 2, 0.03)
    yield Case("day, 500 cameras", working_day(500, 15.0, 2), day_s, 30, 0.03)
    yield Case("day, 16 cameras, noisy", working_day(16, 15.0, 3), day_s, 2, 0.12)
    yield Case("bursts", lambda at_s: 4 * POD_FPS if at_s % 600 < 20 else POD_FPS / 2, min(day_s, 7200.0), 1, 0.05)
    yield Case("steps", lambda at_s: POD_FPS * (0.7 if at_s % 1800 < 900 else 3.0), min(day_s, 7200.0), 1, 0.05)


def sweep(day_s: float = DAY_S) -> list[Verdict]:
    """Every combination, in order of the tables."""
    return [
        judge(target, window_s, policy, day_s) for policy in POLICIES for window_s in WINDOWS_S for target in TARGETS
    ]


def judge(target: float, window_s: float, policy: str, day_s: float = DAY_S) -> Verdict:
    """One combination over all cases."""
    taken_back, dropped, frames, paid, needed = 0, 0.0, 0.0, 0.0, 0.0
    world = World(pod_fps=POD_FPS)
    for case in cases(day_s):
        one = World(pod_fps=POD_FPS, noise=case.noise)
        run = simulate(settings(target, window_s, policy), one, case.demand, case.length_s, replicas=case.start)
        taken_back += run.taken_back()
        dropped += sum(step.dropped_fps for step in run.steps)
        frames += run.frames
        paid += run.pod_hours
        needed += run.frames / POD_FPS / 3600
    tall = simulate(
        settings(target, window_s, policy), world, lambda at_s: POD_FPS * (2 if at_s < 60 else 100), 900, replicas=4
    )
    late = next((step.at_s for step in tall.steps if step.at_s > 60 and step.capacity_fps >= 100 * POD_FPS), math.inf)
    return Verdict(target, window_s, policy, taken_back, dropped / frames, paid / needed - 1, late - 60)


def table(verdicts: Sequence[Verdict]) -> str:
    """Markdown; the shipped combination in bold."""
    lines = [
        "| scale-out | scale-in window | target | scale-ins taken back | frames dropped | pods beyond the need "
        "| step from 2 to 100 pods |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in verdicts:
        cells = (
            each.policy,
            f"{each.window_s:.0f} s",
            f"{each.target:g}",
            str(each.taken_back),
            f"{each.dropped_part:.2%}",
            f"{each.surplus:.0%}",
            f"{each.slowest_step_s:.0f} s",
        )
        mark = "**" if each.shipped else ""
        lines.append("| " + " | ".join(f"{mark}{cell}{mark}" for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__)
    parser.add_argument("--hours", type=float, default=DAY_S / 3600, help="of the working day (%(default)g)")
    options = parser.parse_args(arguments)
    sys.stdout.write(table(sweep(options.hours * 3600)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
