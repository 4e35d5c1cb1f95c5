"""All benchmarks in one command: `python -m tests.bench`, half an hour.

Each figure compares two measurements of this run, taken in alternating rounds. The table goes
to the terminal, JSON and plots to `--out`. Use a quiet machine: the load before the run is recorded with the figures.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from elastic_inference.adapters.catalogue.download_models import fetch_embedded
from tests.bench import (
    broker,
    cameras,
    events,
    frame_queue,
    gateway,
    idle,
    latency,
    pod,
    pod_cost,
    producers,
    relay,
    start,
)
from tests.bench.camera_tables import tables
from tests.bench.machine import describe, stolen_s
from tests.bench.record import Context, Figure, LeftOut
from tests.bench.report import head, line, merged, missed, refresh, write

REPOSITORY = Path(__file__).resolve().parents[2]


def parts(context: Context, case: str) -> dict[str, Callable[[], Iterator[Figure | LeftOut]]]:
    """Each part by name, in the order of the table."""
    return {
        "pod": lambda: pod.run(context, case),
        "cost": lambda: pod_cost.figures(context, case),
        "latency": lambda: latency.run(context),
        "queue": lambda: frame_queue.figures(context),
        "relay": lambda: relay.figures(context),
        "gateway": lambda: gateway.figures(context),
        "events": lambda: events.figures(context),
        "broker": lambda: broker.figures(context),
        "producers": lambda: producers.figures(context),
        "cameras": lambda: cameras.figures(context),
        "idle": lambda: idle.run(context),
        "start": lambda: start.figures(context),
    }


def main() -> int:
    """The exit code: 0 if all parts ran, whatever the figures; 1 if one failed."""
    options = _options()
    os.environ["INFERENCE_PRECISION"] = options.precision  # for the pod, and for `pod_children`
    shared = REPOSITORY.parent / "shared"
    context = Context(
        options.models or Path(os.environ.get("EI_TEST_MODELS", shared / "models")),
        REPOSITORY / "models",
        options.videos or Path(os.environ.get("EI_TEST_VIDEOS", shared / "videos")),
        options.quick,
        options.before or (Path(found) if (found := os.environ.get("EI_BENCH_BEFORE")) else None),
    )
    if not options.only or {pod.PART, pod_cost.PART, start.PART} & set(options.only):
        fetch_embedded(context.embedded)  # BlazeFace, from PyPI, unless it is there
    machine, stolen, began = {**describe(), "precision": options.precision}, stolen_s(), time.monotonic()
    print(
        f"{machine['cores']} cores, {machine['processor']}, {machine['vectors']}; load before {machine['load_before']}"
    )
    print(head())
    chosen = {name: run for name, run in parts(context, options.case).items() if name in (options.only or NAMES)}
    figures: list[Figure] = []
    left_out: list[LeftOut] = []
    try:
        failures = [name for name, run in chosen.items() if not _measure(name, run, figures, left_out)]
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    print(tables(figures), end="")
    spent = time.monotonic() - began
    lost, total = (now - then for now, then in zip(stolen_s(), stolen, strict=True))
    machine["stolen_percent"] = round(100 * lost / total, 2) if total else None
    under = missed(figures)
    print(f"{len(figures)} figures in {spent:.0f} s, {len(under)} missed; stolen {machine['stolen_percent']} %")
    _write(options, machine, figures, left_out, spent)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=NAMES, metavar="PART", help=f"one of {', '.join(NAMES)}")
    parser.add_argument(
        "--case", default="", help="pod, cost: only cases with this in their name, such as 'INT8 768x432'"
    )
    parser.add_argument("--quick", action="store_true", help="few and short rounds, to check that everything runs")
    parser.add_argument(
        "--precision",
        choices=("f32", "bf16", "f16"),
        default="f32",
        help="of the inference, in the pod and in what it is compared with (%(default)s, as the pod's `auto`)",
    )
    parser.add_argument("--models", type=Path, help="folder of models (EI_TEST_MODELS, or shared/models beside this)")
    parser.add_argument("--videos", type=Path, help="folder of clips (EI_TEST_VIDEOS, or shared/videos beside this)")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="DIR",
        help="cameras, cost and start: another build with its .venv to compare with (cameras' default: the last one "
        "before the camera pool, which is put into build/ and needs its packages; cost, start: none)",
    )
    parser.add_argument("--out", type=Path, help="where JSON, table and plots go (a full run: doc/benchmarks)")
    parser.add_argument("--update", action="store_true", help="with --only: put these parts into doc/benchmarks")
    return parser.parse_args()


def _measure(
    name: str, run: Callable[[], Iterator[Figure | LeftOut]], figures: list[Figure], left_out: list[LeftOut]
) -> bool:
    """Prints and adds one part's figures; False if it failed."""
    began = time.monotonic()
    print(name, flush=True)
    try:
        for found in run():
            if isinstance(found, LeftOut):
                left_out.append(found)
                print(f"  left out: {found.reason}", flush=True)
            else:
                figures.append(found)
                print(line(found), flush=True)
    except Exception as error:  # noqa: BLE001  one part's failure must not cost the others' figures
        left_out.append(LeftOut(name, f"failed: {type(error).__name__}: {error}".splitlines()[0]))
        print(f"  FAILED: {type(error).__name__}: {error}", flush=True)
        return False
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return True


def _write(
    options: argparse.Namespace,
    machine: dict[str, Any],
    figures: list[Figure],
    left_out: list[LeftOut],
    spent: float,
) -> None:
    """Writes a full run, or one with `--out` or `--update`."""
    usual = REPOSITORY / "doc" / "benchmarks"
    folder = options.out or (usual if options.update or not (options.only or options.quick) else None)
    if folder is None:
        return
    if options.update:
        measured = options.only or NAMES
        figures, left_out, machine = merged(folder, figures, left_out, machine, measured=measured, order=NAMES)
    write(folder, machine, figures, left_out, spent)
    if folder == usual:
        refresh(REPOSITORY / "doc", machine, tables(figures))
    print(f"written to {folder}")


NAMES = tuple(parts(Context(Path(), Path(), Path()), ""))

if __name__ == "__main__":
    sys.exit(main())
