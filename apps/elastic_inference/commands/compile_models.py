"""Compiles the catalogue's models of a folder for pods of up to one core: `python -m …compile_models MODELS FOLDER`.

Called while the inference image is built; MODEL_COMPILED_DIR names FOLDER there. A pod on a CPU of another kind finds
no matching file, and compiles as usual. So if a model fails here, its pods only start more slowly.
"""

from __future__ import annotations

import sys
from pathlib import Path

from elastic_inference.adapters.catalogue import find_model, load_catalogue
from elastic_inference.adapters.catalogue.entries import short_precision
from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.inference.compiled_models import CompiledModels, cpu_name
from elastic_inference.flows.inference.engine import compile_engine
from elastic_inference.flows.inference.runtime import make_core

# Any quota of up to one core makes one thread.
_ONE_CORE = CpuAllowance(1.0, 1)


def compile_models(models: Path, folder: Path) -> list[str]:
    """Fills `folder`; returns the names of the files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = CompiledModels([], folder, cpu_name())
    core = make_core(_ONE_CORE)
    for name, entry in load_catalogue().models.items():
        for precision in entry.precisions:
            try:
                spec = find_model(f"{name}_{short_precision(precision)}", models, "")
                compile_engine(core, spec.path, spec.adapter, spec.options, "CPU", kept=kept)
            except ElasticInferenceError:
                continue  # it is not among these, or cannot be served
    return sorted(file.name for file in folder.iterdir())


def main(arguments: list[str]) -> int:
    """Runs the command. Exit code 0, also if there is nothing to compile."""
    models, folder = map(Path, arguments)
    print(f"compiled into {folder}: {', '.join(compile_models(models, folder)) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
