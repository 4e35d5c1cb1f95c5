"""Writes the measured scenarios, their simulation and the sweep into doc/scaling_figures.md.

`python -m tests.elasticity.report [--no-sweep]` reads doc/elasticity/*.json, which `make test-elasticity` writes. The
file of its option `--planner` is read by `python -m tests.bench.planner --document`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.elasticity.__main__ import PLANNER_FILE, QUOTAS_FILE
from tests.elasticity.model_switch import gap_before_s, switches
from tests.elasticity.plot import plot
from tests.elasticity.record import Run, from_dict
from tests.elasticity.scenarios import MODEL_CHANGES, default, further
from tests.simulation.sweep import sweep, table
from tests.support.document import markdown_table, replace_between
from tests.support.manifests import PROJECT

DOCUMENT = PROJECT / "doc" / "scaling_figures.md"
FOLDER = PROJECT / "doc" / "elasticity"
PLANNER = FOLDER / PLANNER_FILE
QUOTAS = FOLDER / QUOTAS_FILE
NOT_YET = "Not measured yet.\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Replaces the text between the document's marks."""
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("--no-sweep", action="store_true", help="leave the sweep's table as it is (it takes a minute)")
    options = parser.parse_args(arguments)
    text = DOCUMENT.read_text()
    order = [each.name for each in (*default(), *further())]
    runs = [from_dict(json.loads(path.read_text())) for path in FOLDER.glob("*.json") if path not in {PLANNER, QUOTAS}]
    runs.sort(key=lambda run: order.index(run.name))
    for run in runs:
        (FOLDER / f"{run.name}.svg").write_text(plot(run))
    text = replace_between(text, "measured", measured(runs))
    text = replace_between(text, "wakes", wakes(runs))
    text = replace_between(text, "switches", model_switches(runs))
    text = replace_between(text, "agreement", agreement(runs))
    text = replace_between(text, "plots", "\n".join(f"![{run.name}](elasticity/{run.name}.svg)\n" for run in runs))
    if QUOTAS.exists():
        text = replace_between(text, "quotas", quotas(json.loads(QUOTAS.read_text())))
    if not options.no_sweep:
        text = replace_between(text, "sweep", table(sweep()))
    Path(DOCUMENT).write_text(text)
    return 0


def quotas(records: Sequence[Mapping[str, Any]]) -> str:
    """The rate of a pod, a row per CPU limit."""
    rows = [(each["cpu"], f"{each['fps']:.0f}", f"{each['start_s']:.0f} s") for each in records]
    return markdown_table(("CPU limit", "fps, BlazeFace, 192x144", "start to Ready"), rows)


def measured(runs: Sequence[Run]) -> str:
    """What happened, a row per scenario."""
    columns = ("scenario", "autoscaler", "pods at the end", "time to settle", "peak pods", "overshoot", "turns")
    rows = []
    for run in runs:
        dropped = ", ".join(f"{reason} {count}" for reason, count in run.dropped.items()) or "0"
        figures = (run.in_the_end(), _when(run), run.peak(), run.overshoot(), run.oscillations())
        account = (f"{dropped} of {run.pushed}", run.lost, run.unaccounted())
        rows.append((run.name, run.autoscaler, *figures, *account))
    return markdown_table((*columns, "dropped, by reason", "lost", "unaccounted"), rows)


def wakes(runs: Sequence[Run]) -> str:
    """How a type without pods woke, a row per autoscaler."""
    columns = ("scenario", "autoscaler", "a pod asked for", "created", "Ready", "first result", "a pod's start")
    rows = []
    for run in runs:
        if (wake := run.wake) is not None:
            moments = (wake.asked_s, wake.created_s, wake.ready_s, wake.result_s)
            times = (*map(wake.after_frame_s, moments), wake.start_s())
            rows.append((run.name, run.autoscaler, *("–" if each is None else f"{each:.1f} s" for each in times)))
    return markdown_table(columns, rows) if rows else NOT_YET


def model_switches(runs: Sequence[Run]) -> str:
    """What came of the requests for models, a row for each."""
    columns = ("asked for", "at", "until all pods ran it, or it had failed", "largest gap in a stream", "before")
    rows = []
    for run in runs:
        if run.models:
            usual = f"{gap_before_s(run, MODEL_CHANGES):.2f} s"
            rows += [
                (each.what, _s(each.asked_s), _s(each.done_s), f"{each.gap_s:.2f} s", usual)
                for each in switches(run, MODEL_CHANGES)
            ]
    return markdown_table(columns, rows) if rows else NOT_YET


def agreement(runs: Sequence[Run]) -> str:
    """The simulation compared with the measurement."""
    columns = ("scenario", "time to settle", "simulated", "dropped", "simulated", "changes", "simulated")
    rows = []
    for run in runs:
        found = run.simulated
        if found:
            dropped = sum(run.dropped.values()) / run.pushed if run.pushed else 0.0
            times = (_s(run.settled_s()), _s(found["settled_s"]))
            drops = (f"{dropped:.1%}", f"{found['dropped_part']:.1%}")
            rows.append((run.name, *times, *drops, len(run.changes()), f"{found['changes']:g}"))
    return markdown_table(columns, rows)


def _when(run: Run) -> str:
    woken = "" if run.woken_s() is None else f", the first pod after {_s(run.woken_s())}"
    start = f" (a pod's start: {run.start_s:.0f} s)" if run.start_s else ""
    return _s(run.settled_s()) + woken + start


def _s(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
