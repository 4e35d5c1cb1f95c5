"""Writes the measured scenarios, the simulation beside them and the sweep into doc/dynamic_scale.md.

`python -m tests.elasticity.report [--no-sweep]`: reads doc/elasticity/*.json, which `make test-elasticity` leaves. What
`--planner` left is for `python -m tests.bench.planner --document`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.elasticity.__main__ import PLANNER_FILE, QUOTAS_FILE
from tests.elasticity.plot import plot
from tests.elasticity.record import Run, from_dict
from tests.elasticity.scenarios import default, further
from tests.simulation.sweep import sweep, table
from tests.support.document import replace_between
from tests.support.manifests import PROJECT

DOCUMENT = PROJECT / "doc" / "dynamic_scale.md"
FOLDER = PROJECT / "doc" / "elasticity"
PLANNER = FOLDER / PLANNER_FILE
QUOTAS = FOLDER / QUOTAS_FILE


def main(arguments: Sequence[str] | None = None) -> int:
    """Replaces what stands between the document's markers."""
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
    text = replace_between(text, "agreement", agreement(runs))
    text = replace_between(text, "plots", "\n".join(f"![{run.name}](elasticity/{run.name}.svg)\n" for run in runs))
    if QUOTAS.exists():
        text = replace_between(text, "quotas", quotas(json.loads(QUOTAS.read_text())))
    if not options.no_sweep:
        text = replace_between(text, "sweep", table(sweep()))
    Path(DOCUMENT).write_text(text)
    return 0


def quotas(records: Sequence[Mapping[str, Any]]) -> str:
    """What a pod infers, a row a CPU limit."""
    lines = ["| CPU limit | frames a second, BlazeFace, 192x144 | start to Ready |", "|---|---|---|"]
    lines += [f"| {each['cpu']} | {each['fps']:.0f} | {each['start_s']:.0f} s |" for each in records]
    return "\n".join(lines) + "\n"


def measured(runs: Sequence[Run]) -> str:
    """What happened, a row a scenario."""
    lines = [
        "| scenario | autoscaler | pods in the end | Ready to stay after | most pods | overshoot | turns "
        "| dropped by reason | lost | in no book |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        dropped = ", ".join(f"{reason} {count}" for reason, count in run.dropped.items()) or "0"
        lines.append(
            f"| {run.name} | {run.autoscaler} | {run.in_the_end()} | {_when(run)} | {run.most()} | {run.overshoot()} "
            f"| {run.oscillations()} | {dropped} of {run.pushed} | {run.lost} | {run.unaccounted()} |"
        )
    return "\n".join(lines) + "\n"


def agreement(runs: Sequence[Run]) -> str:
    """The simulation beside the measurement."""
    lines = [
        "| scenario | Ready to stay after, measured | simulated | dropped, measured | simulated "
        "| changes, measured | simulated |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        if not run.simulated:
            continue
        part = sum(run.dropped.values()) / run.pushed if run.pushed else 0.0
        lines.append(
            f"| {run.name} | {_s(run.settled_s())} | {_s(run.simulated['settled_s'])} | {part:.1%} | "
            f"{run.simulated['dropped_part']:.1%} | {len(run.changes())} | {run.simulated['changes']:g} |"
        )
    return "\n".join(lines) + "\n"


def _when(run: Run) -> str:
    woken = "" if run.woken_s() is None else f", the first pod {_s(run.woken_s())} after the first frame"
    start = f" (a pod's start: {run.start_s:.0f} s)" if run.start_s else ""
    return _s(run.settled_s()) + woken + start


def _s(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s"


if __name__ == "__main__":
    sys.exit(main())
