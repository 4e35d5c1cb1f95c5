"""DETR and similar models, whose outputs are queries: class logits and a box each, without suppression.

Input: RGB, stretched. DETR and RF-DETR take ImageNet's mean and deviation, RT-DETR 0..1.

The rows of `layouts` that this family decodes; boxes are centre and size, each 0..1 of the input:

- `detr`: `logits` 1 x n x (classes + 1), through a softmax whose last class is "no object", and `pred_boxes` 1 x n x 4
- `detr-sigmoid`: the same outputs of RT-DETR and Deformable DETR, through a sigmoid, without "no object"
- `rf-detr`: `labels` 1 x n x classes, through a sigmoid, and `dets` 1 x n x 4
- `rt-detr`: 1 x n x (4 + classes) of Ultralytics, scores as they are
- `rt-detr-list`: 1 x n x 6 of Ultralytics since 8.4, which is the box, score and class
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs
from elastic_inference.flows.inference.adapters.boxes import detections
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, recognise, scale_of
from elastic_inference.flows.inference.adapters.layouts import expected_of
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_DEVIATION = (58.395, 57.12, 57.375)
EXPECTED = expected_of("detr")
_OUTPUTS = {
    "detr": ("logits", "pred_boxes"),
    "detr-sigmoid": ("logits", "pred_boxes"),
    "rf-detr": ("labels", "dets"),
}
_IMAGENET = ("detr", "rf-detr")
# Through a sigmoid, each class of a query stands for itself: a query may give several detections, as in the exporters.
_SEVERAL = ("detr-sigmoid", "rf-detr")


class DetrAdapter:
    """Reads a score and a box from each query."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` may set labels, layout, size, and preprocessing that differs from the layout's own."""
        self.labels = options.labels or options.export.names
        self._options = options
        self._layout = ""
        self._at: tuple[int, ...] = (0, 0)

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        export = recognise("detr", model, self._options)
        self._layout, self.labels = export.row.name, export.labels
        if export.row.name in _OUTPUTS:
            self._at = export.indices("detr", model, _OUTPUTS[export.row.name])
        mean, scale = self._options.mean, scale_of(model, self._options, 255.0)
        if export.row.name in _IMAGENET and mean is None and self._options.scale is None:
            mean, scale = IMAGENET_MEAN, IMAGENET_DEVIATION
        built, name = accept_bytes(model, export.layout, mean, scale)
        return PreparedModel(built, name, export.width, export.height, colour_of(self._options, "RGB"))

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        scores = self.scores(outputs)
        if self._layout in _SEVERAL:
            chosen, classes = _highest(scores, threshold)
        else:
            chosen = np.flatnonzero(scores.max(axis=1) >= threshold)
            classes = np.argmax(scores[chosen], axis=1)
        if chosen.size == 0:
            return []
        confidences = scores[chosen, classes]
        boxes = outputs[self._at[1]]
        boxes = boxes.reshape(-1, boxes.shape[-1])[chosen, :4]
        halves = boxes[:, 2:4] / 2
        corners = np.concatenate((boxes[:, :2] - halves, boxes[:, :2] + halves), axis=1)
        if self._layout == "rt-detr-list":
            classes = np.nan_to_num(outputs[0].reshape(-1, 6)[chosen, 5], nan=-1.0).astype(np.int64)
        return detections(self.labels, classes, confidences, corners, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`: queries x classes."""
        values = outputs[self._at[0]]
        values = values.reshape(-1, values.shape[-1])
        if self._layout == "rt-detr":
            return values[:, 4:]
        if self._layout == "rt-detr-list":
            return values[:, 4:5]
        if self._layout == "detr":
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            shares: NDArray[Any] = (powers / powers.sum(axis=1, keepdims=True))[:, :-1]
            return shares
        sigmoid: NDArray[Any] = 1 / (1 + np.exp(-np.clip(values, -80, 80)))
        return sigmoid


def _highest(scores: NDArray[Any], threshold: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """(queries, classes) of the scores from `threshold` on; at most as many as there are queries, the highest."""
    queries, classes = np.nonzero(scores >= threshold)
    if len(queries) > len(scores):
        kept = np.argpartition(-scores[queries, classes], len(scores) - 1)[: len(scores)]
        queries, classes = queries[kept], classes[kept]
    return queries, classes
