"""Exports models with random weights and writes what the exporter's own inference finds. Runs in the exporters' venv.

    exporter.py FOLDER IMAGE,IMAGE,… [NAME …]

Each model becomes FOLDER/<name>/ with the model file and `expected.json`: for each image a threshold, and boxes (class,
confidence, corners in pixels of the image). Random weights give scores close to each other, so the threshold is chosen
such that some dozens of boxes remain.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

os.environ["YOLO_OFFLINE"] = "true"

from tests.models import grid_models, libre_models, query_models, ultralytics_models

MODELS = ultralytics_models.MODELS | query_models.MODELS | grid_models.MODELS | libre_models.MODELS


def use_f32() -> None:
    """Lets the exporters' OpenVINO calculate in f32, as a pod does: by default it uses bf16 on CPUs that have it."""
    import openvino

    compile_model = openvino.Core.compile_model

    def with_precision(core: Any, model: Any, *rest: Any, **named: Any) -> Any:
        core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return compile_model(core, model, *rest, **named)

    openvino.Core.compile_model = with_precision


def main(folder: Path, images: list[str], names: list[str]) -> int:
    """Exports all models, or the named ones, and prints which failed."""
    use_f32()
    failed = 0
    for name in names or MODELS:
        at = folder / name
        shutil.rmtree(at, ignore_errors=True)
        at.mkdir(parents=True)
        try:
            # Ultralytics resizes as OpenCV does; the others smooth what they reduce, so a large image differs.
            MODELS[name](at, images if name in ultralytics_models.MODELS else images[:2])
            print(f"{name}: exported", flush=True)
        except Exception:  # noqa: BLE001  one exporter's mistake must not hide the others
            failed += 1
            lines = traceback.format_exc().splitlines()
            print(f"{name}: the exporter failed:", *(lines if names else lines[-1:]), sep="\n  ", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    files = [str(Path(one).absolute()) for one in sys.argv[2].split(",")]
    sys.exit(main(Path(sys.argv[1]).absolute(), files, sys.argv[3:]))
