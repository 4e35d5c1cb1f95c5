"""YOLOX (Ge et al., 2021), as its release exports it, or with the boxes decoded in the graph.

Input: BGR, 0..255 as floats, letterboxed at the top left, filled with 114.

Output: 1 x n x (5 + classes), which is centre, size, objectness and class scores for each cell of strides 8, 16 and 32,
row by row. In pixels of the input, centre = (raw + cell) * stride and size = exp(raw) * stride. The graph has applied
the sigmoid to objectness and classes. An export with `--decode-in-inference` has the same shape, but its graph computes
centre and size, and only such a graph contains the exponential.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs, mismatch
from elastic_inference.flows.inference.adapters.boxes import detections
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, grid_cells, image_input
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel, Resize
from elastic_inference.flows.inference.adapters.suppression import keep_highest

EXPECTED = "one output 1xNx(5+classes), N cells of strides 8, 16 and 32"
STRIDES = (8, 16, 32)
FILL = 114
# The value in the release's demo.
OVERLAP_LIMIT = 0.45
# exp() of more than this is a box far larger than any input, and may overflow.
_MAX_LOG_SIZE = 10.0


def grid(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(cells n x 2: column and row, strides n x 1) of an input of this size, in the order of the output."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        level = np.stack((columns, rows), axis=-1).reshape(-1, 2)
        cells.append(level)
        strides.append(np.full((len(level), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def matches(model: Any) -> bool:
    """Whether the output has a row for each cell of the input."""
    rows = _rows(model)
    return rows is not None and rows == grid_cells(model, STRIDES)


class YoloxAdapter:
    """Decodes grid cells, then applies non-maximum suppression per class."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` may set labels by class number."""
        self.labels = options.labels or options.export.names
        self._options = options
        self._cells, self._strides = grid(0, 0)
        self._size = np.ones(4, np.float32)
        self._decoded = False

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        layout, width, height = image_input("yolox", model, self._options.size)
        if not matches(model):
            raise mismatch("yolox", model, EXPECTED)
        self._decoded = any(node.get_type_name() == "Exp" for node in model.get_ops())
        self._cells, self._strides = grid(width, height)
        self._size = np.array((width, height, width, height), np.float32)
        built, name = accept_bytes(model, layout, self._options.mean, self._options.scale)
        return PreparedModel(built, name, width, height, colour_of(self._options, "BGR"), Resize.LETTERBOX, fill=FILL)

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        rows = outputs[0].reshape(len(self._cells), -1)
        # Class scores are at most 1, so objectness alone rules out nearly every cell.
        chosen = np.flatnonzero(rows[:, 4] >= threshold)
        if chosen.size == 0:
            return []
        found = rows[chosen]
        classes = np.argmax(found[:, 5:], axis=1)
        scores = found[:, 4] * found[np.arange(len(found)), 5 + classes]
        good = (scores >= threshold) & np.isfinite(found[:, :4]).all(axis=1)
        chosen, found, classes, scores = chosen[good], found[good], classes[good], scores[good]
        if self._decoded:
            centres, halves = found[:, :2], found[:, 2:4] / 2
        else:
            strides = self._strides[chosen]
            centres = (found[:, :2] + self._cells[chosen]) * strides
            halves = np.exp(np.minimum(found[:, 2:4], _MAX_LOG_SIZE)) * strides / 2
        boxes = np.concatenate((centres - halves, centres + halves), axis=1)
        kept = keep_highest(boxes, scores, classes, OVERLAP_LIMIT)
        return detections(self.labels, classes[kept], scores[kept], boxes[kept] / self._size, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`."""
        return outputs[0].reshape(len(self._cells), -1)[:, 4:]


def _rows(model: Any) -> int | None:
    """The number of rows of the only output; None if it has another form."""
    if len(model.outputs) != 1:
        return None
    shape = model.outputs[0].partial_shape
    if shape.is_dynamic or shape.rank.get_length() != 3 or int(shape[0].get_length()) != 1:
        return None
    rows, numbers = int(shape[1].get_length()), int(shape[2].get_length())
    return rows if numbers > 5 else None
