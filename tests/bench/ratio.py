"""The scale ratio against demand over capacity, at shares of a pod's capacity, with quotas and without.

By hand: `PYTHONPATH=tests .venv/bin/python tests/bench/ratio.py --models FOLDER [--quota 0.1] [--seconds S]
[--model NAME]`. The capacity is what the pod infers while it has more than it can do: above 100 % in the reading
itself, below it the mean of before and after, since what a pod can do under a quota wavers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from elastic_inference.embedded_valkey import EmbeddedValkey
from support.inference_pod import running_pod
from support.ratio import load, quota_cgroup

SHARES = (0.25, 0.5, 0.75, 1.5, 3.0)


def run(
    models: Path,
    quotas: tuple[float | None, ...] = (None, 0.5, 0.1),
    model: str = "face-detection-retail-0005_FP32",
    seconds: float = 10.0,
    randomly: tuple[bool, ...] = (False, True),
) -> list[dict[str, Any]]:
    """Records {quota, arrivals, share, demand_fps, capacity_fps, ratio, least, largest, error}."""
    records = []
    for quota in quotas:
        group = quota_cgroup(quota) if quota else nullcontext(None)
        with (
            group as cgroup,
            tempfile.TemporaryDirectory() as folder,
            EmbeddedValkey() as server,
            running_pod(server, Path(folder), models, cgroup=cgroup, INFER_MODEL_NAME=model) as pod,
        ):
            pod.wait_ready(120)
            guess = 300.0 * min(quota or 2.0, 2.0) / 2
            capacity = load(server, pod, guess * 1.5, seconds).infer_fps
            for at_random in randomly:
                levels = [load(server, pod, share * capacity, seconds, randomly=at_random) for share in SHARES]
                full = [level.infer_fps for share, level in zip(SHARES, levels, strict=True) if share > 1]
                for share, level in zip(SHARES, levels, strict=True):
                    can = level.infer_fps if share > 1 else (capacity + full[0]) / 2
                    true = level.demand_fps / can
                    records.append(
                        {
                            "quota": quota,
                            "arrivals": "random" if at_random else "steady",
                            "share": round(true, 3),
                            "demand_fps": round(level.demand_fps, 1),
                            "infer_fps": round(level.infer_fps, 1),
                            "capacity_fps": round(can, 1),
                            "ratio": round(level.ratio, 3),
                            "least": round(level.least, 3),
                            "largest": round(level.largest, 3),
                            "error": round(level.ratio - true, 3),
                        }
                    )
                    print(json.dumps(records[-1]), flush=True)
                capacity = full[-1]
    return records


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--model", default="face-detection-retail-0005_FP32")
    parser.add_argument("--quota", type=float, action="append", help="cores; 0 is none; may be repeated")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--steady-only", action="store_true")
    given = parser.parse_args()
    run(
        given.models,
        tuple(each or None for each in given.quota) if given.quota else (None, 0.5, 0.1),
        given.model,
        given.seconds,
        (False,) if given.steady_only else (False, True),
    )
