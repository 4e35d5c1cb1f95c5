"""Which inference types an image can serve, and with which clips: read from the catalogue and what `build.sh` prepared.

Reads two lists of the catalogue by their lines, since generating manifests must not need a YAML library. Knows nothing
of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from elastic_inference.commands.manifests.template import TemplateError

CATALOGUE = Path(__file__).resolve().parents[2] / "adapters" / "catalogue" / "catalogue.yaml"
CORE_TYPES = ("face-fp32", "face-int8", "people", "car-fp32", "car-int8", "object")
# A sample feeds these types; the first clip that the image has plays, the last one comes with every image.
SAMPLES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "face": (("face-fp32", "face-int8"), ("face-demographics-walking.mp4", "carphone_pristine.mp4")),
    "people": (("people",), ("bikes.mp4",)),
    "car": (("car-fp32", "car-int8"), ("car-detection.mp4", "bikes.mp4")),
    "object": (("object",), ("bikes.mp4",)),
}
_LIST = re.compile(r"^ {2}(?P<name>[\w.-]+): \[(?P<items>[^\]]*)\]\s*$")
_PRECISIONS = {"INT8": ("FP16-INT8", "INT8"), "FP32": ("FP32",), "FP16": ("FP16",)}


def default_models(catalogue: str) -> tuple[dict[str, list[str]], list[str]]:
    """(candidates for the model of each type, names of the embedded models) from the catalogue's text."""
    defaults: dict[str, list[str]] = {}
    embedded: list[str] = []
    section = ""
    for line in catalogue.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            section = line.partition(":")[0]
            if section == "embedded":
                embedded = _items(line.partition("[")[2].partition("]")[0])
        elif section == "defaults" and (found := _LIST.match(line)):
            defaults[found["name"]] = _items(found["items"])
    if not defaults:
        raise TemplateError(f"{CATALOGUE} lists no default models")
    return defaults, embedded


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def holds(models: Path, name: str) -> bool:
    """Whether the folder of models has `name`, with its precision (`…_INT8`) where it is given."""
    base, _, precision = name.rpartition("_")
    if base and precision in _PRECISIONS:
        return any(_has_files(models / base / folder) for folder in _PRECISIONS[precision])
    return _has_files(models / name)


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() and path.stat().st_size for path in folder.rglob("*"))


def choose_types(models: Path | None, types: Sequence[str] = CORE_TYPES) -> tuple[list[str], list[str]]:
    """(types that the image can serve, lines that say what falls back or is left out).

    `models` is the folder that went into the inference image; None where it is not known: then every type is taken.
    """
    if models is None:
        return list(types), []
    defaults, embedded = default_models(CATALOGUE.read_text())
    served: list[str] = []
    notes: list[str] = []
    for infer_type in types:
        candidates = defaults.get(infer_type, [])
        found = next((name for name in candidates if holds(models, name)), None)
        if found is None:
            notes.append(f"{infer_type} is left out: the image has none of {', '.join(candidates)}")
            continue
        served.append(infer_type)
        if found != candidates[0]:
            kind = "embedded model" if found in embedded else "model"
            notes.append(f"{infer_type} falls back to the {kind} {found}: the image has no {candidates[0]}")
    return served, notes


def choose_clip(clips: Path | None, candidates: Sequence[str]) -> str:
    """The first of the clips that the folder has, else the last, which every image has."""
    return next((name for name in candidates if clips is not None and (clips / name).is_file()), candidates[-1])
