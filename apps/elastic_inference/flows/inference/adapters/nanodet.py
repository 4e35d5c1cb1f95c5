"""NanoDet-Plus and NanoDet, as their repository exports them.

Input: BGR with ImageNet's mean and deviation, stretched.

Output: 1 x cells x (classes + 4 x 8), row by row of strides 8, 16, 32 and (Plus) 64. Class scores have passed the
sigmoid. Each edge's distance from the cell is the mean of a distribution over 0..7, in strides (Li et al., 2020,
Generalized Focal Loss).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs, mismatch
from elastic_inference.flows.inference.adapters.boxes import detections
from elastic_inference.flows.inference.adapters.detr import IMAGENET_DEVIATION, IMAGENET_MEAN
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, recognise
from elastic_inference.flows.inference.adapters.layouts import DFL_BINS, expected_of
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel
from elastic_inference.flows.inference.adapters.suppression import keep_highest

EXPECTED = expected_of("nanodet")
# The value in the repository's demo.
OVERLAP_LIMIT = 0.6
_STRIDES = (8, 16, 32, 64)


class NanodetAdapter:
    """Decodes distances from cells, then applies non-maximum suppression per class."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` may set labels, size, and preprocessing that differs from the family's own."""
        self.labels = options.labels
        self._options = options
        self._cells = np.zeros((0, 3), np.float32)
        self._size = np.ones(4, np.float32)

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        export = recognise("nanodet", model, self._options)
        rows = export.facts.shape()[1] or 0
        self._cells = _cells(export.width, export.height, rows)
        if len(self._cells) != rows:
            raise mismatch("nanodet", model, EXPECTED)
        self._size = export.size
        colour = colour_of(self._options, "BGR")
        mean, scale = self._options.mean, self._options.scale
        if mean is None and scale is None:
            step = 1 if colour == "RGB" else -1
            mean, scale = IMAGENET_MEAN[::step], IMAGENET_DEVIATION[::step]
        built, name = accept_bytes(model, export.layout, mean, scale)
        return PreparedModel(built, name, export.width, export.height, colour)

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        scores = self.scores(outputs)
        chosen = np.flatnonzero(scores.max(axis=1) >= threshold)
        if chosen.size == 0:
            return []
        found = outputs[0].reshape(len(self._cells), -1)[chosen]
        cells = self._cells[chosen]
        bins = found[:, -4 * DFL_BINS :].reshape(-1, 4, DFL_BINS)
        powers = np.exp(bins - bins.max(axis=2, keepdims=True))
        distances = (powers @ np.arange(DFL_BINS) / powers.sum(axis=2)) * cells[:, 2:]
        boxes = np.concatenate((cells[:, :2] - distances[:, :2], cells[:, :2] + distances[:, 2:]), axis=1)
        classes = np.argmax(scores[chosen], axis=1)
        best = scores[chosen, classes]
        finite = np.isfinite(boxes).all(axis=1)
        boxes, classes, best = boxes[finite], classes[finite], best[finite]
        # As the authors' code does, before boxes are compared.
        boxes = np.clip(boxes, 0, self._size)
        kept = keep_highest(boxes, best, classes, self._options.overlap or OVERLAP_LIMIT)
        return detections(self.labels, classes[kept], best[kept], boxes[kept] / self._size, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`: cells x classes."""
        return outputs[0].reshape(len(self._cells), -1)[:, : -4 * DFL_BINS]


def _cells(width: int, height: int, rows: int) -> NDArray[np.float32]:
    """n x 3: the point of each cell in pixels, and its stride. With four levels (Plus) it is the cell's corner."""
    levels: list[NDArray[Any]] = []
    for strides in (_STRIDES, _STRIDES[:3]):
        shift = 0.0 if len(strides) == len(_STRIDES) else 0.5
        levels = []
        for stride in strides:
            down, across = np.mgrid[0 : -(-height // stride), 0 : -(-width // stride)]
            points = (np.stack((across, down), -1).reshape(-1, 2) + shift) * stride
            levels.append(np.concatenate((points, np.full((len(points), 1), stride)), axis=1))
        if sum(map(len, levels)) == rows:
            break
    return np.concatenate(levels).astype(np.float32)
