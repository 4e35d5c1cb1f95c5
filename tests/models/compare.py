"""Compares this project's boxes with those that the exporters' own inference finds (`exporter.py`).

    compare.py --image FILE     writes an image to compare on
    compare.py FOLDER IMAGE     FOLDER as written by exporter.py

Prints a line for each model. The exit code is 1 if a box has no partner of its class with an overlap of 0.95 and a
confidence within 0.02.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import simplejpeg

from elastic_inference.adapters.catalogue.find import find_model
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.inference.adapters import check_scores
from elastic_inference.flows.inference.warm_up import synthetic_frame
from tests.support.small_models import overlap, runner_of

OVERLAP = 0.95
CONFIDENCE = 0.02


def compare(folder: Path, image: Any) -> tuple[bool, str]:
    """(whether all boxes have partners, a line that says what was found)."""
    expected = json.loads((folder / "expected.json").read_text())
    file = folder / expected["model"]
    if file.is_dir():
        file = next(file.glob("*.xml"), None) or next(file.glob("*.tflite"))
    height, width = image.shape[:2]
    ran = runner_of(find_model(None, file, "any"))
    check_scores(ran.adapter, ran.outputs(image))
    found = ran.detect(image, expected["threshold"])
    ours = [(one.label_id, one.confidence, [*one.box]) for one in found]
    theirs = []
    for number, score, box in expected["found"]:
        shares = [edge / side for edge, side in zip(box, (width, height) * 2, strict=True)]
        theirs.append((number, score, [min(max(edge, 0.0), 1.0) for edge in shares]))
    theirs = [one for one in theirs if one[2][2] > one[2][0] and one[2][3] > one[2][1]]
    lowest, pairs = 1.0, 0
    left = list(theirs)
    for number, score, box in ours:
        partners = [one for one in left if one[0] == number and abs(one[1] - score) <= CONFIDENCE]
        best = max(partners, key=lambda one: overlap(one[2], box), default=None)
        if best is not None and overlap(best[2], box) >= OVERLAP:
            lowest, pairs = min(lowest, overlap(best[2], box)), pairs + 1
            left.remove(best)
    good = pairs == len(ours) == len(theirs) and pairs > 0
    kind = type(ran.adapter).__name__
    return good, f"{kind}: {len(ours)} boxes here, {len(theirs)} there, {pairs} pairs, lowest overlap {lowest:.3f}"


def main(folder: Path, image: Path) -> int:
    """Compares every model in the folder."""
    frame = cv2.imread(str(image))
    bad = 0
    for path in sorted(path.parent for path in folder.glob("*/expected.json")):
        try:
            good, line = compare(path, frame)
        except (ElasticInferenceError, RuntimeError) as error:
            good, line = False, " ".join(str(error).split())[:300]
        bad += not good
        print(f"{'ok  ' if good else 'BAD '} {path.name}: {line}", flush=True)
    return min(bad, 1)


if __name__ == "__main__":
    if sys.argv[1] == "--image":
        sys.exit(not cv2.imwrite(sys.argv[2], simplejpeg.decode_jpeg(synthetic_frame().data, "BGR")))
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
