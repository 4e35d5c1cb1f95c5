"""Compares this project's boxes with those that the exporters' own inference finds (`exporter.py`).

    compare.py --images FILE FILE FILE    writes three images to compare on
    compare.py FOLDER [NAME …]         FOLDER as written by exporter.py

Prints a line for each model. The exit code is 1 if a box has no partner of its class with an overlap of 0.95 and a
confidence within 0.02, or if the exporter finds the same boxes on both images: then the image does not matter, and the
comparison shows nothing. A model that is known not to be served must be refused.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import simplejpeg

from elastic_inference.adapters.catalogue.find import find_model
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.inference.adapters import check_scores
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.support.small_models import Runner, overlap, runner_of

OVERLAP = 0.95
CONFIDENCE = 0.02
SIZES = ((160, 120), (120, 160), (768, 432))
STEP = 64
# What doc/models.md says is not served, and a part of the reason.
NOT_SERVED = {"yolo26n-seg": "merge_into"}
LARGE = 320

One = tuple[int, float, list[float]]


@dataclass
class Pairs:
    """Boxes of both sides that belong together: how many, their lowest overlap and highest difference of scores."""

    count: int = 0
    overlap: float = 1.0
    apart: float = 0.0


def pair(ours: list[One], theirs: list[One], limit: float = OVERLAP, confidence: float = CONFIDENCE) -> Pairs:
    """Gives each of `ours` the nearest of `theirs` that is of its class and not taken."""
    pairs = Pairs()
    left = list(theirs)
    for number, score, box in ours:
        partners = [one for one in left if one[0] == number and abs(one[1] - score) <= confidence]
        best = max(partners, key=lambda one: overlap(one[2], box), default=None)
        if best is not None and overlap(best[2], box) >= limit:
            pairs.count += 1
            pairs.overlap = min(pairs.overlap, overlap(best[2], box))
            pairs.apart = max(pairs.apart, abs(best[1] - score))
            left.remove(best)
    return pairs


def compare(ran: Runner, looks: list[dict[str, Any]]) -> tuple[bool, str]:
    """(whether all boxes have partners, a line that says what was found)."""
    good, parts = True, []
    for look in looks:
        image = cv2.imread(look["image"])
        check_scores(ran.adapter, ran.outputs(image))
        ours = [(one.label_id, one.confidence, [*one.box]) for one in ran.detect(image, look["threshold"])]
        theirs = shares(look["found"], image.shape[1], image.shape[0])
        pairs = pair(ours, theirs)
        good = good and pairs.count == len(ours) == len(theirs) and pairs.count > 0
        parts.append(
            f"{len(ours)}/{len(theirs)} boxes, {pairs.count} pairs, lowest overlap {pairs.overlap:.4f}, "
            f"scores within {pairs.apart:.4f}"
        )
    if len(looks) < 2:
        return False, f"{type(ran.adapter).__name__}: all scores of an image are the same, so it compares nothing"
    still = pair(*(shares(look["found"], 1, 1) for look in rescaled(looks[:2])), limit=0.9, confidence=1.0).count
    if still > len(looks[0]["found"]) / 2:
        good = False
        parts.append(f"{still} boxes of the exporter are the same on both images")
    return good, f"{type(ran.adapter).__name__}: {'; '.join(parts)}"


def rescaled(looks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The looks with boxes as shares of their image."""
    sized = [(look, cv2.imread(look["image"]).shape) for look in looks]
    return [look | {"found": shares(look["found"], shape[1], shape[0])} for look, shape in sized]


def shares(found: list[Any], width: int, height: int) -> list[One]:
    """Boxes as 0..1 of the image, clipped, without empty ones."""
    clipped = [
        (number, score, [min(max(edge / side, 0.0), 1.0) for edge, side in zip(box, (width, height) * 2, strict=True)])
        for number, score, box in found
    ]
    return [one for one in clipped if one[2][2] > one[2][0] and one[2][3] > one[2][1]]


def look_at(folder: Path) -> tuple[bool, str]:
    """Compares the model in one folder."""
    expected = json.loads((folder / "expected.json").read_text())
    file = folder / expected["model"]
    if file.is_dir():
        file = next(file.glob("*.xml"), None) or next(file.glob("*.tflite"))
    return compare(runner_of(find_model(None, file, "any")), expected["looks"])


def main(folder: Path, names: list[str]) -> int:
    """Compares every model in the folder, or the named ones."""
    bad = 0
    for path in sorted(path.parent for path in folder.glob("*/expected.json")):
        if names and path.name not in names:
            continue
        refusal = NOT_SERVED.get(path.name)
        try:
            good, line = look_at(path)
            good = good and refusal is None
        except (ElasticInferenceError, RuntimeError) as error:
            good, line = refusal is not None and refusal in str(error), " ".join(str(error).split())[:300]
        bad += not good
        print(f"{'ok  ' if good else 'BAD '} {path.name}: {line}", flush=True)
    return min(bad, 1)


def write_images(files: list[str]) -> None:
    """Two small images that every package resizes to 320 or 640 alike, and a large one with soft shapes.

    Enlarging the small ones gives whole numbers, so that no rounding differs: random weights would amplify it.
    """
    for seed, (file, size) in enumerate(zip(files, SIZES, strict=True), start=1):
        soft = simplejpeg.decode_jpeg(synthetic_frame(size, seed).data, "BGR")
        cv2.imwrite(file, soft // STEP * STEP if size[0] < LARGE else soft)


if __name__ == "__main__":
    if sys.argv[1] == "--images":
        write_images(sys.argv[2:])
        sys.exit(0)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
