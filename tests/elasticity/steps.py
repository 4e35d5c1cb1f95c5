"""How an autoscaler answered each of the many steps of the scenario `step-at-random`. Pure.

An autoscaler looks every 15 s, and does not announce when. But it changes the number of pods only when it looks, so the
changes of a run show when that was.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.elasticity.record import Run
from tests.elasticity.scenarios import LOOK_EVERY_S, Step

# A look that comes later after a step has to ask for the right number of pods.
SEES_AFTER_S = 7.0
# The pool is sampled once a second, and busy API servers answer late.
SAMPLED_S = 2.0
# Of ten steps, one may be answered late or wrongly, and one with more pods later.
WRONG_PART = 0.1
READY_S = 25.0


@dataclass(frozen=True)
class Answer:
    """`looked_s`: from the step to the first look that had to see it. `asked`: the pods wanted then.

    `peak`: the most that were wanted while the step lasted. `ready_s`: until as many as needed were Ready, None if they
    never were.
    """

    looked_s: float
    asked: int
    peak: int
    ready_s: float | None


def look_phase_s(changes: Sequence[tuple[float, int, int]]) -> float:
    """The moment of the looks within their round, from the changes of a run: the middle of the circle."""
    if not changes:
        return 0.0
    angles = [2 * math.pi * at_s / LOOK_EVERY_S for at_s, _, _ in changes]
    middle = math.atan2(statistics.fmean(map(math.sin, angles)), statistics.fmean(map(math.cos, angles)))
    return middle / (2 * math.pi) * LOOK_EVERY_S % LOOK_EVERY_S


def answers(run: Run, steps: Sequence[Step], needed: int) -> list[Answer]:
    """How each step was answered. The autoscaler's round drifts, so those near a step count."""
    found = []
    for step in steps:
        near = [each for each in run.changes() if abs(each[0] - step.up_s) < 4 * 60]
        phase_s = look_phase_s(near or run.changes())
        after_s = step.up_s + SEES_AFTER_S
        look_s = after_s + (phase_s - after_s) % LOOK_EVERY_S
        during = [each for each in run.samples if step.up_s <= each.at_s < step.down_s and each.replicas >= 0]
        asked = [each.replicas for each in during if each.at_s <= look_s + SAMPLED_S]
        ready = next((each.at_s - step.up_s for each in during if each.ready >= needed), None)
        peak = max((each.replicas for each in during), default=0)
        found.append(Answer(round(look_s - step.up_s, 1), asked[-1] if asked else 0, peak, ready))
    return found


def missed(found: Sequence[Answer], needed: int) -> list[str]:
    """The bars that were missed."""
    problems = []
    wrong = [each for each in found if each.asked != needed]
    if len(wrong) > WRONG_PART * len(found):
        right = len(found) - len(wrong)
        problems.append(f"{right} of {len(found)} steps had {needed} pods asked for at the first look: {wrong}")
    more = [each for each in found if each.peak > max(needed, each.asked)]
    if len(more) > WRONG_PART * len(found):
        problems.append(f"{len(more)} of {len(found)} steps had more pods asked for later: {more}")
    ready = statistics.median(math.inf if each.ready_s is None else each.ready_s for each in found)
    if ready > READY_S:
        problems.append(f"{needed} pods Ready after {ready:.0f} s at the median, more than {READY_S:g} s")
    return problems


def summary(found: Sequence[Answer], needed: int) -> str:
    """All steps in one line."""
    ready = [each.ready_s for each in found if each.ready_s is not None] or [math.nan]
    right = sum(each.asked == needed for each in found)
    more = sum(each.peak > max(needed, each.asked) for each in found)
    return (
        f"{right} of {len(found)} steps had {needed} pods asked for at the first look, {more} had more later;"
        f" Ready after {statistics.median(ready):.1f} s at the median, {max(ready):.1f} s at most"
    )
