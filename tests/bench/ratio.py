"""The scale ratio compared with demand over capacity, at several loads of a pod, with quotas and without.

`make bench-ratio` (ARGS="-h"). Demand and capacity are counted outside the pod. Demand is what the cameras pushed.
Capacity is the number of results that reached the broker while the pod was overloaded: in the reading itself above
100 %, the mean of the readings before and after it below 100 %, since a pod's capacity under a quota varies. Only the
ratio, read from the worker hash, is calculated by the pod.

A reading misses its bar if the ratio is off by more than 0.1 below 100 %, or by more than 10 % of the demand above.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.bench.machine import describe
from tests.support.document import replace_between
from tests.support.inference_pod import running_pod
from tests.support.ratio import Arrivals, can_make_cgroups, load, quota_cgroup

REPOSITORY = Path(__file__).resolve().parents[2]
SHARES = (0.25, 0.5, 0.75, 1.5, 3.0)
QUOTAS = (None, 0.5, 0.1)
MODEL = "face-detection-retail-0005_FP32"
SECONDS = 10.0
# A pod with less than this gets so few frames in ten seconds that one burst more or less is a fifth of them.
SLOW_QUOTA = 0.25
SLOW_TIMES = 3
# A guess at the capacity of a pod without a quota on two cores, for the first flood.
_GUESS_FPS = 300.0
_DOCUMENT = REPOSITORY / "doc" / "scaling_figures.md"
_FOLDER = REPOSITORY / "doc" / "benchmarks"


@dataclass(frozen=True, slots=True)
class Record:
    """One reading. `quota` is in cores, None without a quota.

    `asked` is the intended share of the capacity, `true` the actual one. `ratio` is the mean that the pod reported,
    `lowest` and `highest` are its extremes.
    """

    quota: float | None
    arrivals: str
    asked: float
    demand_fps: float
    infer_fps: float
    capacity_fps: float
    true: float
    ratio: float
    lowest: float
    highest: float

    @property
    def missed(self) -> bool:
        """Whether the ratio misses its bar."""
        allowed = 0.1 if self.asked < 1 else 0.1 * self.true
        return not abs(self.ratio - self.true) <= allowed


def run(
    models: Path, quotas: Sequence[float | None], model: str, seconds: float, kinds: Sequence[Arrivals]
) -> Iterator[Record]:
    """Five readings for each quota and kind of arrivals, each of a window and `seconds`, longer under a small quota."""
    for quota in quotas:
        reading_s = seconds * SLOW_TIMES if quota and quota < SLOW_QUOTA else seconds
        group = quota_cgroup(quota) if quota else nullcontext(None)
        with (
            group as cgroup,
            tempfile.TemporaryDirectory() as folder,
            EmbeddedValkey() as server,
            running_pod(server, Path(folder), models, cgroup=cgroup, INFER_MODEL_NAME=model) as pod,
        ):
            pod.wait_ready(120)
            capacity = load(server, 1.5 * _GUESS_FPS * min(quota or 2.0, 2.0) / 2, reading_s).infer_fps
            for arrivals in kinds:
                levels = [load(server, share * capacity, reading_s, arrivals=arrivals) for share in SHARES]
                full = [level.infer_fps for share, level in zip(SHARES, levels, strict=True) if share > 1]
                for share, level in zip(SHARES, levels, strict=True):
                    can = level.infer_fps if share > 1 else (capacity + full[0]) / 2
                    yield Record(
                        quota,
                        arrivals.value,
                        share,
                        round(level.demand_fps, 1),
                        round(level.infer_fps, 1),
                        round(can, 1),
                        round(level.demand_fps / can, 3),
                        round(level.ratio, 3),
                        round(level.lowest, 3),
                        round(level.highest, 3),
                    )
                capacity = full[-1]


def table(records: Sequence[Record]) -> str:
    """The table of `doc/scaling_figures.md`; readings that miss their bar are bold."""
    rows = ["| quota | arrivals | demand over capacity → ratio |", "|---|---|---|"]
    for (quota, arrivals), group in groupby(records, lambda each: (each.quota, each.arrivals)):
        told = ", ".join(map(_cell, group))
        rows.append(f"| {'none' if quota is None else f'{quota:g}'} | {arrivals} | {told} |")
    return "\n".join(rows) + "\n"


def _cell(record: Record) -> str:
    text = f"{record.true:.2f} → {record.ratio:.2f}"
    return f"**{text}**" if record.missed else text


def main() -> int:
    """0 if every reading meets its bar, 1 if one does not, 2 if nothing can be measured here."""
    kinds = [each.value for each in Arrivals]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.ratio", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, help="folder of models (EI_TEST_MODELS, or shared/models beside this)")
    parser.add_argument("--model", default=MODEL, help=f"of that folder ({MODEL})")
    parser.add_argument(
        "--quota", type=float, action="append", help="cores, 0 for none; may be given again (0 0.5 0.1)"
    )
    parser.add_argument("--arrivals", action="append", choices=kinds, help="may be given again (all of them)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"of each reading ({SECONDS:g}; three times that under a small quota)",
    )
    parser.add_argument("--out", type=Path, help="where ratio.json goes (a full run: doc, and its table)")
    given = parser.parse_args()
    models = given.models or Path(os.environ.get("EI_TEST_MODELS", REPOSITORY.parent / "shared" / "models"))
    quotas = [each or None for each in given.quota] if given.quota else QUOTAS
    if not (models / given.model.rpartition("_")[0]).exists():
        print(f"{models} lacks {given.model}; see --models", file=sys.stderr)
        return 2
    if any(quotas) and not can_make_cgroups():
        print("a quota needs root and cgroup v1 here; --quota 0 measures without one", file=sys.stderr)
        return 2
    machine = describe()
    chosen = [Arrivals(each) for each in given.arrivals or kinds]
    records = []
    try:
        for record in run(models, quotas, given.model, given.seconds, chosen):
            records.append(record)
            print(json.dumps(asdict(record)), "MISSED" if record.missed else "", flush=True)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    full = not given.quota and not given.arrivals and given.model == MODEL and given.seconds >= SECONDS
    folder = given.out or (_FOLDER if full else None)
    if folder is not None:
        document = {"machine": machine, "seconds": given.seconds, "records": [asdict(each) for each in records]}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ratio.json").write_text(json.dumps(document, indent=1) + "\n")
    if full and given.out is None:
        _DOCUMENT.write_text(replace_between(_DOCUMENT.read_text(), "ratio", table(records)))
    missed = sum(each.missed for each in records)
    print(f"\n{table(records)}\n{missed} of {len(records)} readings miss their bar")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
