"""The trackers of the library `trackers`, and its scores for ours too. Runs in an environment of its own.

`python -m tests.tracking.library FILE`: FILE holds what our tracker made of each run, as JSON; the scores of all
trackers go to standard output, as JSON. It sees the frames in order, without images.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import supervision
import trackers
from trackers.eval import compute_clear_metrics, compute_identity_metrics
from trackers.eval.box import box_iou

from tests.tracking.scenes import FPS, HEIGHT, STEPS, WIDTH, Boxes, kept, read

SIZE = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])


def made(fps: float) -> dict[str, Any]:
    """Each of its trackers for a camera with this frame rate, with its own default settings."""
    return {
        "ByteTrack": trackers.ByteTrackTracker(frame_rate=fps),
        "SORT": trackers.SORTTracker(frame_rate=fps),
        "OC-SORT": trackers.OCSORTTracker(frame_rate=fps),
        "BoT-SORT": trackers.BoTSORTTracker(frame_rate=fps, enable_cmc=False),
        "C-BIoU": trackers.CBIoUTracker(frame_rate=fps),
    }


def tracked(tracker: Any, frames: list[Boxes]) -> list[list[tuple[int, list[float]]]]:
    """(id, box) of each confirmed track, by frame."""
    found = []
    for boxes in frames:
        detections = supervision.Detections(
            xyxy=np.array([box for _, _, box in boxes]).reshape(-1, 4) * SIZE,
            confidence=np.array([confidence for _, confidence, _ in boxes]),
            class_id=np.zeros(len(boxes), dtype=int),
        )
        out = tracker.update(detections)
        rows = zip(out.xyxy / SIZE, out.tracker_id, strict=True) if len(out) else ()
        found.append([(int(number), box.tolist()) for box, number in rows if number >= 0])
    return found


def scored(truth: list[Boxes], found: list[list[tuple[int, list[float]]]]) -> tuple[float, float]:
    """(IDF1, MOTA) by the library's own code."""
    true_ids = [np.array([number for number, _, _ in boxes], dtype=int) for boxes in truth]
    ids = [np.array([number for number, _ in boxes], dtype=int) for boxes in found]
    overlaps = [
        box_iou(
            np.array([box for _, _, box in a]).reshape(-1, 4) * SIZE,
            np.array([box for _, box in b]).reshape(-1, 4) * SIZE,
            box_format="xyxy",
        )
        for a, b in zip(truth, found, strict=True)
    ]
    identity = compute_identity_metrics(true_ids, ids, overlaps)
    clear = compute_clear_metrics(true_ids, ids, overlaps)
    return float(identity["IDF1"]), float(clear["MOTA"])


def main() -> None:
    """Writes {step: {tracker: [[IDF1, MOTA] for each phase]}}."""
    detections, truth = read("det"), read("gt")
    ours = json.loads(Path(sys.argv[1]).read_text())
    scores: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for step in STEPS:
        by_tracker = scores.setdefault(str(step), {})
        for phase in range(step):
            numbers = kept(step, phase)
            true_boxes = [truth[number] for number in numbers]
            runs = {"ours": ours[str(step)][phase]}
            for name, tracker in made(FPS / step).items():
                runs[name] = tracked(tracker, [detections[number] for number in numbers])
            for name, found in runs.items():
                by_tracker.setdefault(name, []).append(scored(true_boxes, found))
    json.dump(scores, sys.stdout)


if __name__ == "__main__":
    main()
