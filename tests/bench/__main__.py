"""All benchmarks in one command: `python -m tests.bench`, at most a quarter of an hour.

Each figure is a ratio within this run, or a time beside one that was measured in it; ways alternate. The table goes to
the terminal, JSON and plots to `--out`. Run it on a quiet machine: the load before is written down with the figures.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from elastic_inference.adapters.catalogue.download_models import fetch_embedded
from tests.bench import frame_queue, gateway, idle, latency, pod, producers, relay
from tests.bench.machine import describe, stolen_s
from tests.bench.record import Context, Figure, LeftOut
from tests.bench.report import head, line, markdown, merged, missed, refresh, write

REPOSITORY = Path(__file__).resolve().parents[2]


def parts(context: Context, case: str) -> dict[str, Callable[[], Iterator[Figure | LeftOut]]]:
    """Each part by its name, in the order of the table."""
    return {
        "pod": lambda: pod.run(context, case),
        "latency": lambda: latency.run(context),
        "queue": lambda: frame_queue.figures(context),
        "relay": lambda: relay.figures(context),
        "gateway": lambda: gateway.figures(context),
        "producers": lambda: producers.figures(context),
        "idle": lambda: idle.run(context),
        "start": lambda: idle.start(context),
    }


def main() -> int:
    """The exit code: 0 when all ran, whatever the figures say; 1 when a part failed."""
    names = list(parts(Context(Path(), Path(), Path()), ""))
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, metavar="PART", help=f"one of {', '.join(names)}")
    parser.add_argument("--case", default="", help="pod: only cases with this in their name, such as 'INT8 768x432'")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: to see that all runs")
    parser.add_argument("--models", type=Path, help="folder of models (EI_TEST_MODELS, or shared/models beside this)")
    parser.add_argument("--videos", type=Path, help="folder of clips (EI_TEST_VIDEOS, or shared/videos beside this)")
    parser.add_argument("--out", type=Path, help="where JSON, table and plots go (a full run: doc/benchmarks)")
    parser.add_argument("--update", action="store_true", help="with --only: put these parts into doc/benchmarks")
    options = parser.parse_args()
    shared = REPOSITORY.parent / "shared"
    context = Context(
        options.models or Path(os.environ.get("EI_TEST_MODELS", shared / "models")),
        REPOSITORY / "models",
        options.videos or Path(os.environ.get("EI_TEST_VIDEOS", shared / "videos")),
        options.quick,
    )
    if not options.only or pod.PART in options.only:
        fetch_embedded(context.embedded)  # BlazeFace, from the package registry; nothing where it is there
    machine, stolen, began = describe(), stolen_s(), time.monotonic()
    print(f"{machine['cores']} cores, {machine['processor']}; load before {machine['load_before']}\n{head()}")
    figures: list[Figure] = []
    left_out: list[LeftOut] = []
    failed = False
    for name, run in parts(context, options.case).items():
        if options.only and name not in options.only:
            continue
        part_began = time.monotonic()
        print(name, flush=True)
        try:
            for found in run():
                if isinstance(found, LeftOut):
                    left_out.append(found)
                    print(f"  left out: {found.reason}", flush=True)
                else:
                    figures.append(found)
                    print(line(found), flush=True)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
        except Exception as error:  # noqa: BLE001  one part's failure must not cost the others' figures
            failed = True
            left_out.append(LeftOut(name, f"failed: {type(error).__name__}: {error}".splitlines()[0]))
            print(f"  FAILED: {type(error).__name__}: {error}", flush=True)
        print(f"  ({time.monotonic() - part_began:.0f} s)", flush=True)
    spent = time.monotonic() - began
    lost, total = (now - then for now, then in zip(stolen_s(), stolen, strict=True))
    machine["stolen_percent"] = round(100 * lost / total, 2) if total else None
    under = missed(figures)
    print(
        f"{len(figures)} figures in {spent:.0f} s, {len(under)} under their bar; stolen {machine['stolen_percent']} %"
    )
    usual = REPOSITORY / "doc" / "benchmarks"
    folder = options.out or (usual if options.update or not (options.only or options.quick) else None)
    if folder is not None:
        measured = options.only or names
        if options.update:
            figures, left_out, machine = merged(folder, figures, left_out, machine, measured=measured, order=names)
        write(folder, machine, figures, left_out, spent)
        if folder == usual:
            refresh(REPOSITORY / "doc" / "benchmarks.md", machine, markdown(figures, left_out))
        print(f"written to {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
