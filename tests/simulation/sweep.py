"""The sweep that chose the default target, windows and policies: all combinations meet the same demands.

`python -m tests.simulation.sweep` prints it as Markdown; `make docs` puts it into the document.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import random
import statistics
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.simulation.autoscaler import AutoscalerSettings, Direction, Policy
from tests.simulation.simulation import Demand, World, simulate
from tests.support.document import markdown_table

TARGETS = (0.6, 0.7, 0.8, 0.9)
WINDOWS_S = (0.0, 60.0, 120.0, 300.0)
# Kubernetes' defaults, and ours (kubernetes/parts/scale.j2).
OUT_POLICIES = {
    "default": (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)),
    "shipped": (Policy("Percent", 400, 15.0), Policy("Pods", 8, 15.0)),
}
# Kubernetes' default, which is ours too, and a tenth per minute.
IN_POLICIES = {
    "shipped": (Policy("Percent", 100, 15.0),),
    "gentle": (Policy("Percent", 10, 60.0), Policy("Pods", 1, 60.0)),
}
POD_FPS = 40.0
MAX_REPLICAS = 2000
DAY_S = 10 * 3600.0
NOISY = "day, 16 cameras, noisy"
# Each seed has different working days and noise.
SEEDS = range(1, 4)
SHIPPED_SEEDS = range(1, 21)


class Combination(NamedTuple):
    """One combination of settings: windows in seconds, policies by name."""

    target: float
    in_window_s: float
    out_policy: str = "shipped"
    out_window_s: float = 0.0
    in_policy: str = "shipped"

    def settings(self) -> AutoscalerSettings:
        """As an autoscaler's settings."""
        return AutoscalerSettings(
            target=self.target,
            max_replicas=MAX_REPLICAS,
            up=Direction(self.out_window_s, OUT_POLICIES[self.out_policy]),
            down=Direction(self.in_window_s, IN_POLICIES[self.in_policy]),
        )


SHIPPED = Combination(0.8, 300.0)


@dataclass(frozen=True)
class Case:
    """A demand in frames per second over `length_s`, from `start` pods, with measuring noise."""

    name: str
    demand: Demand
    length_s: float
    start: int
    noise: float


@dataclass(frozen=True)
class Verdict:
    """One combination over all cases and `seeds` seeds.

    `reversals` are by case, over all seeds. `dropped_part` is the mean over the cases. `surplus` is the share of
    pods paid for beyond what the frames needed at a target of 1. `step_s` is the time from a rise of the demand from 2
    pods to 100 until these were Ready, the median over the seeds.
    """

    combination: Combination
    seeds: int
    reversals: dict[str, int]
    dropped_part: float
    surplus: float
    step_s: float


@functools.cache
def working_day(cameras: int, fps: float, seed: int, day_s: float = DAY_S) -> Demand:
    """Cameras that send while something moves: a morning, a lull at noon, an evening; each minute differs a little.

    Only the first `day_s` of the day can be asked for.
    """
    chance = random.Random(seed)  # noqa: S311  a simulation
    minutes = [1 + chance.uniform(-0.04, 0.04) for _ in range(int(DAY_S / 60) + 2)]

    def at(now_s: int) -> float:
        hour = now_s / 3600
        share = 0.15 + 0.75 * math.exp(-((hour - 2.5) ** 2) / 1.2) + 0.65 * math.exp(-((hour - 7.5) ** 2) / 1.8)
        minute, rest = divmod(now_s / 60, 1)
        wobble = minutes[int(minute)] * (1 - rest) + minutes[int(minute) + 1] * rest
        return cameras * fps * min(1.0, share) * wobble

    seconds = array("d", map(at, range(int(day_s) + 1)))
    return lambda now_s: seconds[int(now_s)]


def cases(day_s: float = DAY_S, seed: int = 1) -> Iterator[Case]:
    """Sites of three sizes over a working day, noisy pods, a burst every ten minutes, steps up and down."""
    yield Case("day, 16 cameras", working_day(16, 15.0, seed, day_s), day_s, 2, 0.03)
    yield Case("day, 500 cameras", working_day(500, 15.0, seed + 1000, day_s), day_s, 30, 0.03)
    yield Case("day, 2000 cameras", working_day(2000, 15.0, seed + 2000, day_s), day_s, 140, 0.03)
    yield Case(NOISY, working_day(16, 15.0, seed + 3000, day_s), day_s, 2, 0.12)
    yield Case("bursts", lambda at_s: 4 * POD_FPS if at_s % 600 < 20 else POD_FPS / 2, min(day_s, 7200.0), 1, 0.05)
    yield Case("steps", lambda at_s: POD_FPS * (0.7 if at_s % 1800 < 900 else 3.0), min(day_s, 7200.0), 1, 0.05)


def combinations() -> list[Combination]:
    """Each target with each scale-in window, and each other setting changed with each of these windows."""
    found = [Combination(target, window_s) for window_s, target in itertools.product(WINDOWS_S, TARGETS)]
    for window_s in WINDOWS_S:
        shipped = SHIPPED._replace(in_window_s=window_s)
        found += [
            shipped._replace(out_policy="default"),
            shipped._replace(out_window_s=60.0),
            shipped._replace(in_policy="gentle"),
        ]
    return found


def sweep(day_s: float = DAY_S) -> list[Verdict]:
    """Every combination, in the order of the table; the default one with more seeds."""
    return [judge(each, day_s, SHIPPED_SEEDS if each == SHIPPED else SEEDS) for each in combinations()]


def judge(
    combination: Combination, day_s: float = DAY_S, seeds: Sequence[int] = SEEDS, *, keda: bool = False
) -> Verdict:
    """Judges one combination over all cases and seeds, for `day_s` of each day; for an HPA or for KEDA."""
    settings = combination.settings()
    reversals: dict[str, int] = {}
    dropped_parts: list[float] = []
    frames, paid = 0.0, 0.0
    for seed in seeds:
        for case in cases(day_s, seed):
            world = World(pod_fps=POD_FPS, noise=case.noise, keda=keda)
            run = simulate(settings, world, case.demand, case.length_s, replicas=case.start, seed=seed)
            reversals[case.name] = reversals.get(case.name, 0) + run.reversals()
            dropped_parts.append(run.dropped_part)
            frames += run.frames
            paid += run.pod_hours
    surplus = paid / (frames / POD_FPS / 3600) - 1
    step_s = statistics.median(_tall_step_s(settings, seed) for seed in seeds)
    return Verdict(combination, len(seeds), reversals, statistics.fmean(dropped_parts), surplus, step_s)


def _tall_step_s(settings: AutoscalerSettings, seed: int) -> float:
    run = simulate(
        settings, World(pod_fps=POD_FPS), lambda at_s: POD_FPS * (2 if at_s < 60 else 100), 900, replicas=4, seed=seed
    )
    return next((step.at_s - 60 for step in run.steps if step.at_s > 60 and step.ready >= 100), math.inf)


def table(verdicts: Sequence[Verdict]) -> str:
    """Markdown; the default combination is bold."""
    columns = (
        "target",
        "scale-in window",
        "scale-in policy",
        "scale-out window",
        "scale-out policy",
        "reversals per run",
        "of these in the noisy case",
        "frames dropped",
        "surplus pods",
        "step from 2 to 100 pods",
    )
    rows = []
    for each in verdicts:
        one = each.combination
        scale_in = (f"{one.in_window_s:.0f} s", one.in_policy)
        scale_out = (f"{one.out_window_s:.0f} s", one.out_policy)
        reversals = (sum(each.reversals.values()), each.reversals[NOISY])
        outcome = (f"{each.dropped_part:.2%}", f"{each.surplus:.0%}", f"{each.step_s:.0f} s")
        mark = "**" if one == SHIPPED else ""
        cells = (
            f"{one.target:g}",
            *scale_in,
            *scale_out,
            *(f"{count / each.seeds:.3g}" for count in reversals),
            *outcome,
        )
        rows.append([f"{mark}{cell}{mark}" for cell in cells])
    return markdown_table(columns, rows)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours <= DAY_S / 3600:
        raise argparse.ArgumentTypeError(f"expected hours above 0, at most {DAY_S / 3600:g}: {text!r}")
    return hours


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="sweep", description=__doc__)
    parser.add_argument("--hours", type=_hours, default=DAY_S / 3600, help="hours of the working day (%(default)g)")
    options = parser.parse_args(arguments)
    sys.stdout.write(table(sweep(options.hours * 3600)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
