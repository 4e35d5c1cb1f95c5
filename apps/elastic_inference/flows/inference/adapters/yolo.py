"""YOLO v3 to v11 and 26, as Ultralytics and the original repositories export them, with and without suppression.

Input: RGB, 0..1 (a model that takes uint8 gets 0..255), letterboxed in the middle, filled with 114.

The rows of `layouts` that this family decodes, in pixels of the input (TensorFlow Lite: 0..1 of it):

- `grid`: 1 x (4 + classes) x cells, which is centre, size and class scores. v8 and later, and the u forms of v3 and v5
- `grid-corners`: the same with two corners for centre and size, at the top left unless told. LibreYOLO's v7 and v9
- `objectness`: 1 x rows x (5 + classes), with the objectness before the classes. v5 and v7
- `end-to-end`: 1 x n x 6, which is two corners, score and class. v10, v26 and exports with `nms=True`
- `yolov7-list`: n x 7, which is image, two corners, class and score. v7 exported with its own suppression

Segmentation and pose append more numbers to these. Their boxes are served, masks and key points are not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs
from elastic_inference.flows.inference.adapters.boxes import detections
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, recognise, scale_of
from elastic_inference.flows.inference.adapters.layouts import Facts, expected_of
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel, Resize
from elastic_inference.flows.inference.adapters.suppression import keep_highest
from elastic_inference.flows.inference.arrays import Floats

FILL = 114
# Ultralytics' own value; v5 and v7 publish 0.45.
OVERLAP_LIMIT = {"grid": 0.7, "grid-corners": 0.45, "objectness": 0.45}
_GRIDS = ("grid", "grid-corners")
EXPECTED = expected_of("yolo")

Found = tuple[Floats, Floats, NDArray[Any]]  # boxes (xyxy), scores, classes


class YoloAdapter:
    """Decodes the layout that the model's shapes and metadata show."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` may set labels, layout, size, the limit of overlaps, and preprocessing other than YOLO's own."""
        self.labels = options.labels or options.export.names
        self._options = options
        self._layout = ""
        self._classes = 0
        self._overlap = 0.7
        self._unit = np.ones(4, np.float32)

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        export = recognise("yolo", model, self._options)
        self._layout, self.labels = export.row.name, export.labels
        self._classes = _classes(export.facts, export.row.name, len(self.labels))
        self._overlap = self._options.overlap or OVERLAP_LIMIT.get(export.row.name, 1.0)
        # TensorFlow Lite's boxes are 0..1 of the input; LiteRT, which keeps NCHW, leaves finished lists in pixels.
        if not (export.facts.export.normalised and (export.row.name == "grid" or export.layout == "NHWC")):
            self._unit = export.size
        scale = scale_of(model, self._options, 255.0)
        built, name = accept_bytes(model, export.layout, self._options.mean, scale)
        colour = colour_of(self._options, "RGB")
        centred = export.facts.export.centred
        return PreparedModel(built, name, export.width, export.height, colour, Resize.LETTERBOX, FILL, centred=centred)

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        boxes, scores, classes = getattr(self, _DECODERS[self._layout])(outputs[0], threshold)
        if len(boxes) == 0:
            return []
        if self._layout in OVERLAP_LIMIT:
            finite = np.isfinite(boxes).all(axis=1)
            boxes, scores, classes = boxes[finite], scores[finite], classes[finite]
            # LibreYOLO cuts boxes at the frame's edges before it compares them, the other exporters after that.
            compared = letterbox.to_frame(boxes / self._unit) if self._layout == "grid-corners" else boxes
            kept = keep_highest(compared, scores, classes, self._overlap)
            boxes, scores, classes = boxes[kept], scores[kept], classes[kept]
        return detections(self.labels, classes, scores, boxes / self._unit, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`."""
        if self._layout in _GRIDS:
            return _columns(outputs[0])[4 : 4 + self._classes]
        rows = _rows(outputs[0])
        at = {"objectness": slice(4, None), "end-to-end": slice(4, 5), "yolov7-list": slice(6, 7)}[self._layout]
        return rows[:, at]

    def _grid(self, output: NDArray[Any], threshold: float) -> Found:
        columns = _columns(output)
        chosen = np.flatnonzero(columns[4 : 4 + self._classes].max(axis=0) >= threshold)
        found = columns[: 4 + self._classes, chosen].T
        classes = np.argmax(found[:, 4:], axis=1)
        return _corners(found[:, :4]), found[np.arange(len(found)), 4 + classes], classes

    def _corner_grid(self, output: NDArray[Any], threshold: float) -> Found:
        """Each class of a cell stands for itself, as in LibreYOLO."""
        columns = _columns(output)
        classes, cells = np.nonzero(columns[4 : 4 + self._classes] >= threshold)
        return columns[:4, cells].T, columns[4 + classes, cells], classes

    def _objectness(self, output: NDArray[Any], threshold: float) -> Found:
        rows = _rows(output)
        # Class scores are at most 1, so objectness alone rules out nearly every row.
        found = rows[rows[:, 4] >= threshold, : 5 + self._classes]
        classes = np.argmax(found[:, 5:], axis=1)
        scores = found[:, 4] * found[np.arange(len(found)), 5 + classes]
        good = scores >= threshold
        return _corners(found[good, :4]), scores[good], classes[good]

    def _end_to_end(self, output: NDArray[Any], threshold: float) -> Found:
        rows = _rows(output)
        found = rows[rows[:, 4] >= threshold]
        return found[:, :4], found[:, 4], _numbers(found[:, 5])

    def _yolov7_list(self, output: NDArray[Any], threshold: float) -> Found:
        rows = _rows(output)
        found = rows[rows[:, 6] >= threshold]
        return found[:, 1:5], found[:, 6], _numbers(found[:, 5])


_DECODERS = {
    "grid": "_grid",
    "grid-corners": "_corner_grid",
    "objectness": "_objectness",
    "end-to-end": "_end_to_end",
    "yolov7-list": "_yolov7_list",
}


def _classes(facts: Facts, layout: str, labels: int) -> int:
    """How many classes a row has; 0 if it holds the class's number. Raises ModelError for too many labels."""
    if layout not in OVERLAP_LIMIT:
        return 0
    numbers = (facts.shape()[1] if layout in _GRIDS else facts.shape()[2]) or 0
    if facts.extras is None:
        raise ModelError(
            f"The model is an export for the task {facts.export.task!r} without kpt_shape in its metadata."
        )
    classes = numbers - (4 if layout in _GRIDS else 5) - facts.extras
    told = len(facts.export.names)
    # An exporter that names the task may name fewer classes; otherwise another number means other outputs.
    if classes < 1 or told > classes or (told and told != classes and not facts.export.task):
        raise ModelError(
            f"The model's metadata names {told} classes for the task {facts.export.task or 'detect'!r}, "
            f"but its output has room for {classes}: expected the same number."
        )
    if labels > classes:
        raise ModelError(f"The model has {classes} classes, but {labels} labels are given.")
    return classes


def _rows(output: NDArray[Any]) -> NDArray[Any]:
    return output.reshape(-1, output.shape[-1])


def _columns(output: NDArray[Any]) -> NDArray[Any]:
    return output.reshape(output.shape[-2:])


def _corners(boxes: NDArray[Any]) -> Floats:
    """Centre and size as two corners."""
    halves = boxes[:, 2:4] / 2
    corners: Floats = np.concatenate((boxes[:, :2] - halves, boxes[:, :2] + halves), axis=1)
    return corners


def _numbers(classes: NDArray[Any]) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.nan_to_num(classes, nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)
    return numbers
