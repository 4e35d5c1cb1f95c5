"""Non-maximum suppression: of boxes that cover each other, the surest stays. Pure numpy; used by the adapters."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


def overlap(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one box (4, xyxy) with each of `boxes` (n x 4); 0 where both are empty."""
    width = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    height = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    united = (box[2] - box[0]) * (box[3] - box[1]) + areas - shared
    result: Floats = np.divide(shared, united, out=np.zeros_like(shared), where=united > 0)
    return result


def keep_surest(
    boxes: Floats, scores: Floats, classes: npt.NDArray[Any], limit: float, most: int = 300
) -> npt.NDArray[np.intp]:
    """Indices of the boxes that stay, surest first: none overlaps a surer one of its class by more than `limit`.

    `boxes` n x 4, `scores` and `classes` n, all finite; at most `most` are kept.
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while left.size and len(kept) < most:
        first, rest = left[0], left[1:]
        kept.append(int(first))
        covered = (classes[rest] == classes[first]) & (overlap(boxes[first], boxes[rest]) > limit)
        left = rest[~covered]
    return np.array(kept, np.intp)


def merge_weighted(boxes: Floats, scores: Floats, limit: float, most: int = 100) -> tuple[Floats, Floats]:
    """(boxes, scores) where boxes that overlap the surest by more than `limit` become one, their mean by score.

    The merged box has the surest one's score. BlazeFace's own form of suppression (Bazarevsky et al., 2019, section 3).
    """
    left = np.argsort(-scores, kind="stable")
    merged: list[Floats] = []
    sure: list[float] = []
    while left.size and len(merged) < most:
        covered = overlap(boxes[left[0]], boxes[left]) > limit
        covered[0] = True
        group = left[covered]
        merged.append(np.average(boxes[group], axis=0, weights=scores[group]))
        sure.append(float(scores[left[0]]))
        left = left[~covered]
    return np.array(merged, np.float32).reshape(-1, 4), np.array(sure, np.float32)
