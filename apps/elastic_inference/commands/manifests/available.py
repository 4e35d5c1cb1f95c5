"""Which inference types an image can serve, and with which clips, from the catalogue and what `build.sh` prepared.

Independent of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from elastic_inference.adapters.catalogue.entries import load_catalogue

CORE_TYPES = ("face-fp32", "face-int8", "people", "car-fp32", "car-int8", "object")
# The types that each sample feeds, and its clips: the first in the image plays. Every image contains the last.
SAMPLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "face": (("face-fp32", "face-int8"), ("face-demographics-walking.mp4", "carphone_pristine.mp4")),
    "people": (("people",), ("bikes.mp4",)),
    "car": (("car-fp32", "car-int8"), ("car-detection.mp4", "bikes.mp4")),
    "object": (("object",), ("bikes.mp4",)),
}
_PRECISIONS = {"INT8": ("FP16-INT8", "INT8"), "FP32": ("FP32",), "FP16": ("FP16",)}


def holds(models: Path, name: str) -> bool:
    """Whether the folder of models contains `name`, with its precision (`…_INT8`) if the name has one."""
    base, _, precision = name.rpartition("_")
    if base and precision in _PRECISIONS:
        return any(_has_files(models / base / folder) for folder in _PRECISIONS[precision])
    return _has_files(models / name)


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() and path.stat().st_size for path in folder.rglob("*"))


def choose_types(models: Path | None, types: Sequence[str] = CORE_TYPES) -> tuple[list[str], list[str]]:
    """(types that the image can serve, lines that say which types fall back or are left out).

    `models` is the folder that went into the inference image. None means that it is
    not known: then every type is served.
    """
    if models is None:
        return list(types), []
    catalogue = load_catalogue()
    served: list[str] = []
    notes: list[str] = []
    for infer_type in types:
        candidates = catalogue.defaults.get(infer_type, ())
        found = next((name for name in candidates if holds(models, name)), None)
        if found is None:
            notes.append(f"{infer_type} is left out: the image has none of {', '.join(candidates)}")
            continue
        served.append(infer_type)
        if found != candidates[0]:
            kind = "embedded model" if found in catalogue.embedded else "model"
            notes.append(f"{infer_type} falls back to the {kind} {found}: the image has no {candidates[0]}")
    return served, notes


def choose_clip(clips: Path | None, candidates: Sequence[str]) -> str:
    """The first of the clips that the folder contains, or else the last, which every image has."""
    return next((name for name in candidates if clips is not None and (clips / name).is_file()), candidates[-1])
