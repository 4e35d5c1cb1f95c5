"""The bars of a run, and the line that says how it went. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.elasticity import model_switch
from tests.elasticity.record import Run, Wake
from tests.elasticity.scenarios import Scenario, pods
from tests.elasticity.steps import answers, missed, summary

SHIPPED_WINDOW_S = 300
# KEDA polls every 3 s.
WAKES_WITHIN_S = 10.0
# With a push: from the first frame to the first result, without the first pod's own start.
PUSH_WAKES_WITHIN_S = 3.0
# A change to the metrics chain takes effect after this time.
OUTAGE_SHOWS_S = 15.0
# A pod that ends takes its last drops with it, if they were not scraped.
UNACCOUNTED_PART = 0.001


def problems_of(run: Run, scenario: Scenario, window_s: int) -> list[str]:
    """The bars that were missed."""
    problems = []
    tolerated = max(scenario.may_lose, round(UNACCOUNTED_PART * run.pushed), 1)
    if run.lost > scenario.may_lose:
        problems.append(f"{run.lost} frames lost")
    if abs(run.unaccounted()) > tolerated:
        problems.append(f"{run.unaccounted()} frames unaccounted, more than {tolerated}")
    if run.autoscaler == "hpa-cpu":  # for comparison only
        return problems
    if scenario.steps:
        needed = pods(scenario.demand(scenario.steps[0].up_s))
        found = answers(run, scenario.steps, needed)
        print(*found, summary(found, needed), sep="\n", flush=True)
        problems += missed(found, needed)
    if scenario.changes_models():
        problems += model_switch.missed(run, scenario.disturb)
    return problems + _late(run, scenario, window_s) + _restless(run, scenario)


def _late(run: Run, scenario: Scenario, window_s: int) -> list[str]:
    found = []
    settled, woken = run.settled_s(), run.woken_s()
    goes = SHIPPED_WINDOW_S if scenario.shipped_windows else window_s
    limit_s = scenario.within_s + (goes if scenario.expected < run.peak() else run.start_s)
    if run.autoscaler == "keda-push" and scenario.start == 0:
        found += _slow_wake(run.wake)
    elif scenario.start == 0 and (woken is None or woken > WAKES_WITHIN_S + run.start_s):
        found.append(f"the first pod after {woken} s, more than {WAKES_WITHIN_S:g} s and a start")
    if settled is None:
        found.append(f"{scenario.expected} pods did not stay Ready")
    elif settled > limit_s:
        found.append(f"{scenario.expected} pods Ready after {settled:.0f} s, more than {limit_s:g} s")
    return found


def _slow_wake(wake: Wake | None) -> list[str]:
    result_s = wake.after_frame_s(wake.result_s) if wake else None
    start_s = wake.start_s() if wake else None
    if result_s is None or start_s is None or result_s > start_s + PUSH_WAKES_WITHIN_S:
        return [f"{wake_line(wake)}: expected a pod's start and {PUSH_WAKES_WITHIN_S:g} s at most"]
    return []


def _restless(run: Run, scenario: Scenario) -> list[str]:
    found = []
    if run.oscillations() > scenario.turns:
        found.append(f"{run.oscillations()} changes of direction, more than {scenario.turns}: {run.changes()}")
    early = [each for each in run.changes() if each[0] < scenario.changed_s + SHIPPED_WINDOW_S - 30]
    if scenario.shipped_windows and early:
        found.append(f"scaled in before the window of {SHIPPED_WINDOW_S} s: {early}")
    outage = [at_s for at_s, what in scenario.disturb if what.endswith(("-off", "-on"))]
    if outage:
        blind = [each for each in run.changes() if outage[0] + OUTAGE_SHOWS_S < each[0] < outage[1]]
        found += [f"the pool changed while nothing was measured: {blind}"] if blind else []
    return found


def line(run: Run, scenario: Scenario) -> str:
    """What happened in the run."""
    settled, reached, woken = run.settled_s(), run.reached_s(), run.woken_s()
    first = "" if woken is None else f"first pod Ready after {woken:.0f} s, "
    return (
        f"{run.name}: {first}{run.expected} pods Ready after {'never' if reached is None else f'{reached:.0f} s'}"
        f" (staying: {'never' if settled is None else f'{settled:.0f} s'}; a pod starts in {run.start_s:.0f} s),"
        f" at most {run.peak()}, overshoot {run.overshoot()}, turns {run.oscillations()}, changes {run.changes()};"
        f" pushed {run.pushed}, inferred {run.inferred}, dropped {run.dropped or 0}, lost {run.lost},"
        f" unaccounted {run.unaccounted()}; simulated {run.simulated}" + _more(run, scenario)
    )


def _more(run: Run, scenario: Scenario) -> str:
    if scenario.start == 0:
        return f"; {wake_line(run.wake)}"
    if not scenario.changes_models():
        return ""
    found = model_switch.switches(run, scenario.disturb)
    usual_s = model_switch.gap_before_s(run, scenario.disturb)
    return f"; largest gap before {usual_s:.2f} s; " + "; ".join(map(str, found))


def wakes(runs: Sequence[Run]) -> list[str]:
    """The runs from zero beside each other."""
    return [f"{run.name} ({run.autoscaler}): {wake_line(run.wake)}" for run in runs if run.wake is not None]


def wake_line(wake: Wake | None) -> str:
    """From the first frame to the first result."""
    if wake is None:
        return "no pod was woken"
    parts = (("asked for a pod", wake.asked_s), ("pod created", wake.created_s), ("Ready", wake.ready_s))
    steps = [f"{what} {_after(wake, at_s)}" for what, at_s in (*parts, ("first result", wake.result_s))]
    start_s = wake.start_s()
    own = "" if start_s is None else f" (of that, the pod's own start {start_s:.1f} s)"
    return f"after the first frame: {', '.join(steps)}{own}"


def _after(wake: Wake, at_s: float | None) -> str:
    after_s = wake.after_frame_s(at_s)
    return "never" if after_s is None else f"{after_s:.1f} s"
