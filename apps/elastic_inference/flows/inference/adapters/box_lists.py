"""Detectors whose outputs are finished lists: boxes, classes and scores.

The rows of `layouts` that this family decodes; boxes are two corners:

- `box-lists`: `boxes`, `labels`, `scores`, in pixels of the input. RT-DETR, RT-DETRv2 and D-FINE (RGB, 0..1,
  stretched) have an input `orig_target_sizes`, which gets the input's own size; torchvision's SSD, which takes the same
  image, has none
- `counted`: `num_dets`, `det_boxes`, `det_scores`, `det_classes`, in pixels; YOLOv7 and others with TensorRT's plugin
- `efficientdet`: 1 x n x 7 of AutoML's EfficientDet: image, y, x, y, x in pixels, score, class counted from 1; RGB,
  0..255, letterboxed at the top left
- `effdet`: 1 x n x 6 of effdet: corners in pixels, score, class counted from 1; RGB with ImageNet's mean and deviation,
  letterboxed at the top left. YOLO's lists have the same shape, so the side file must name it
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs
from elastic_inference.flows.inference.adapters.boxes import detections
from elastic_inference.flows.inference.adapters.detr import IMAGENET_DEVIATION, IMAGENET_MEAN
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, recognise, scale_of
from elastic_inference.flows.inference.adapters.layouts import expected_of
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel, Resize

EXPECTED = expected_of("box-lists")
_OUTPUTS = {
    "box-lists": ("boxes", "scores", "labels"),
    "counted": ("det_boxes", "det_scores", "det_classes", "num_dets"),
}
_YOLO_FILL = 114
_IMAGENET_FILL = (124, 116, 104)  # its mean, RGB


class BoxListsAdapter:
    """Reads the lists; the suppression is part of the graph."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` may set labels, layout, size, and preprocessing that differs from the layout's own."""
        self.labels = options.labels or options.export.names
        self._options = options
        self._layout = ""
        self._at: tuple[int, ...] = ()
        self._unit = np.ones(4, np.float32)

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        export = recognise("box-lists", model, self._options)
        self._layout, self.labels = export.row.name, export.labels
        if export.row.name in _OUTPUTS:
            self._at = export.indices("box-lists", model, _OUTPUTS[export.row.name])
        self._unit = export.size
        mean, scale = self._options.mean, self._options.scale
        if mean is None and scale is None and export.row.name == "effdet":
            mean, scale = IMAGENET_MEAN, IMAGENET_DEVIATION
        elif export.row.name != "efficientdet":
            scale = scale_of(model, self._options, 255.0)
        built, name = accept_bytes(model, export.layout, mean, scale)
        colour = colour_of(self._options, "RGB")
        if export.row.name == "box-lists":
            return PreparedModel(built, name, export.width, export.height, colour)
        counted = export.row.name == "counted"
        fill: int | tuple[int, int, int] = _YOLO_FILL if counted else 0
        if export.row.name == "effdet":
            fill = _IMAGENET_FILL if colour == "RGB" else (104, 116, 124)
        return PreparedModel(built, name, export.width, export.height, colour, Resize.LETTERBOX, fill, centred=counted)

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        scores = self.scores(outputs)
        chosen = np.flatnonzero(scores >= threshold)
        if chosen.size == 0:
            return []
        if self._layout == "efficientdet":
            rows = outputs[0].reshape(-1, 7)[chosen]
            boxes, classes = rows[:, [2, 1, 4, 3]], rows[:, 6]
        elif self._layout == "effdet":
            rows = outputs[0].reshape(-1, 6)[chosen]
            boxes, classes = rows[:, :4], rows[:, 5]
        else:
            boxes = outputs[self._at[0]].reshape(-1, 4)[chosen]
            classes = outputs[self._at[2]].reshape(-1)[chosen]
        numbers = np.nan_to_num(classes, nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)
        return detections(self.labels, numbers, scores[chosen], boxes / self._unit, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`."""
        if self._layout == "efficientdet":
            return outputs[0].reshape(-1, 7)[:, 5]
        if self._layout == "effdet":
            return outputs[0].reshape(-1, 6)[:, 4]
        scores = outputs[self._at[1]].reshape(-1)
        if self._layout == "counted":
            scores = scores[: max(0, int(outputs[self._at[3]].reshape(-1)[0]))]
        return scores
