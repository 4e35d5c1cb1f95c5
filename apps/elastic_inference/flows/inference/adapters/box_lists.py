"""Detectors that give finished lists: boxes, classes and scores.

The rows of `layouts` that this family decodes; boxes are two corners:

- `box-lists`: `boxes`, `labels`, `scores`. With an input `orig_target_sizes` this is the exporter of RT-DETR, RT-DETRv2
  and D-FINE (RGB, 0..1, stretched); without it the one of torchvision, whose SSD takes the same image. The size given
  is the input's, so boxes are in pixels of the input
- `counted`: `num_dets`, `det_boxes`, `det_scores`, `det_classes`, in pixels; YOLOv7 and others with TensorRT's plugin
- `efficientdet`: 1 x n x 7 of AutoML's EfficientDet: image, y, x, y, x in pixels, score, class counted from 1; RGB,
  0..255, letterboxed at the top left
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.base import AdapterOptions, Outputs, mismatch
from elastic_inference.flows.inference.adapters.boxes import detections
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, image_input, scale_of, settle
from elastic_inference.flows.inference.adapters.layouts import LAYOUTS, export_of, facts_of, find_layout
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel, Resize

EXPECTED = "; ".join(f"{layout.expected} ({layout.name})" for layout in LAYOUTS if layout.family == "box-lists")
_OUTPUTS = {
    "box-lists": ("boxes", "scores", "labels"),
    "counted": ("det_boxes", "det_scores", "det_classes", "num_dets"),
}
_YOLO_FILL = 114


class BoxListsAdapter:
    """Reads the lists; the graph has chosen the boxes."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` give labels, layout and size; preprocessing if it is not the layout's own."""
        self.labels = options.labels or options.export.names
        self._options = options
        self._layout = ""
        self._at: tuple[int, ...] = ()
        self._unit = np.ones(4, np.float32)

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        settle(model, self._options)
        layout, width, height = image_input("box-lists", model, self._options.size)
        facts = facts_of(model, export_of(model, self._options.export), self._options.labels)
        found = find_layout(facts, self._options.layout)
        if found is None or found.family != "box-lists":
            raise mismatch("box-lists", model, EXPECTED)
        self._layout = found.name
        self.labels = self._options.labels or facts.export.names
        if found.name in _OUTPUTS:
            named = facts.named(*_OUTPUTS[found.name])
            if named is None:
                raise mismatch("box-lists", model, found.expected)
            self._at = tuple(named[name] for name in _OUTPUTS[found.name])
        self._unit = np.array((width, height, width, height), np.float32)
        default = None if found.name == "efficientdet" else 255.0
        built, name = accept_bytes(model, layout, self._options.mean, scale_of(model, self._options, default))
        colour = colour_of(self._options, "RGB")
        if found.name == "box-lists":
            return PreparedModel(built, name, width, height, colour)
        counted = found.name == "counted"
        fill = _YOLO_FILL if counted else 0
        return PreparedModel(built, name, width, height, colour, Resize.LETTERBOX, fill, centred=counted)

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        scores = self.scores(outputs)
        chosen = np.flatnonzero(scores >= threshold)
        if chosen.size == 0:
            return []
        if self._layout == "efficientdet":
            rows = outputs[0].reshape(-1, 7)[chosen]
            boxes, classes = rows[:, [2, 1, 4, 3]], rows[:, 6]
        else:
            boxes = outputs[self._at[0]].reshape(-1, 4)[chosen]
            classes = outputs[self._at[2]].reshape(-1)[chosen]
        numbers = np.nan_to_num(classes, nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)
        return detections(self.labels, numbers, scores[chosen], boxes / self._unit, letterbox)

    def scores(self, outputs: Outputs) -> npt.NDArray[Any]:
        """See `Adapter.scores`."""
        if self._layout == "efficientdet":
            return outputs[0].reshape(-1, 7)[:, 5]
        scores = outputs[self._at[1]].reshape(-1)
        if self._layout == "counted":
            scores = scores[: max(0, int(outputs[self._at[3]].reshape(-1)[0]))]
        return scores
