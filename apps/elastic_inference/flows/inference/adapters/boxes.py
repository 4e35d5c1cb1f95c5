"""Makes detections from a model's boxes, highest confidence first; leaves out boxes that are not finite or are empty.

Used by the adapters. There are two forms for speed: with numpy for many boxes, with lists for few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox
from elastic_inference.flows.inference.arrays import Floats

# Up to this many boxes lists are faster than numpy: between two inferences numpy's code has left the CPU cache, and
# each call of it took some 0.02 ms in a busy pod.
FEW_BOXES = 24


def detections(
    labels: tuple[str, ...],
    classes: NDArray[Any],
    confidences: Floats,
    boxes: Floats,
    letterbox: Letterbox,
) -> list[Detection]:
    """Detections of boxes (n x 4, each 0..1 of the model's input) with their class numbers and confidences."""
    if len(boxes) == 0:
        return []
    if len(boxes) <= FEW_BOXES:
        return few_detections(labels, classes.tolist(), confidences.tolist(), boxes.tolist(), letterbox)
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences)
    mapped = letterbox.to_frame(boxes[finite])
    numbers, scores = classes[finite], np.minimum(confidences[finite], 1.0)
    visible = (mapped[:, 2] > mapped[:, 0]) & (mapped[:, 3] > mapped[:, 1])
    mapped, numbers, scores = mapped[visible], numbers[visible], scores[visible]
    order = np.argsort(-scores, kind="stable")
    return [
        Detection(label_of(labels, int(number)), int(number), float(score), (box[0], box[1], box[2], box[3]))
        for number, score, box in zip(numbers[order], scores[order], mapped[order].tolist(), strict=True)
    ]


def few_detections(
    labels: tuple[str, ...],
    classes: list[int],
    confidences: list[float],
    boxes: Sequence[Sequence[float]],
    letterbox: Letterbox,
) -> list[Detection]:
    """Like `detections`, for lists."""
    found = []
    (offset_x, offset_y), (scale_x, scale_y) = letterbox.offset, letterbox.scale
    for number, confidence, box in zip(classes, confidences, boxes, strict=True):
        # A NaN or an infinity anywhere makes the sum one.
        if not math.isfinite(sum(box) + confidence):
            continue
        x_min = min(max((box[0] - offset_x) * scale_x, 0.0), 1.0)
        y_min = min(max((box[1] - offset_y) * scale_y, 0.0), 1.0)
        x_max = min(max((box[2] - offset_x) * scale_x, 0.0), 1.0)
        y_max = min(max((box[3] - offset_y) * scale_y, 0.0), 1.0)
        if x_max > x_min and y_max > y_min:
            box_on_frame = (x_min, y_min, x_max, y_max)
            found.append(Detection(label_of(labels, int(number)), int(number), min(confidence, 1.0), box_on_frame))
    found.sort(key=_by_confidence)
    return found


def _by_confidence(found: Detection) -> float:
    return -found.confidence


def label_of(labels: tuple[str, ...], number: int) -> str:
    """The name of a class; its number if it has no name."""
    return (labels[number] if 0 <= number < len(labels) else "") or str(number)
