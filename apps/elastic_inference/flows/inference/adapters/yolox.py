"""YOLOX (Ge et al., 2021), as its release exports it.

Input BGR, 0..255 as floats, letterboxed at the top left, filled with 114. Output 1 x n x (5 + classes): centre, size,
objectness and class scores per cell of strides 8, 16, 32 (row by row); centre = (raw + cell) * stride, size =
exp(raw) * stride, in pixels of the input. Objectness and classes have their sigmoid in the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.base import (
    AdapterOptions,
    Outputs,
    Placement,
    PreparedModel,
    Resize,
    detections,
    misfit,
)
from elastic_inference.flows.inference.adapters.graph import colour_of, picture_input, take_bytes
from elastic_inference.flows.inference.adapters.suppression import keep_surest

EXPECTED = "one output 1xNx(5+classes), N the cells of strides 8, 16 and 32"
STRIDES = (8, 16, 32)
FILL = 114
# The release's value in its demo.
OVERLAP_LIMIT = 0.45
# exp() of more than this is a box far beyond any input: cut before it overflows.
_MAX_LOG_SIZE = 10.0


def grid(width: int, height: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(cell n x 2: column, row; stride n x 1) of an input of that size, in the order of the output."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        level = np.stack((columns, rows), axis=-1).reshape(-1, 2)
        cells.append(level)
        strides.append(np.full((len(level), 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def fits(model: Any) -> bool:
    """Whether output and input sizes go together as YOLOX's do."""
    sides = _sides(model)
    if sides is None or len(model.inputs) != 1:
        return False
    shape = model.inputs[0].partial_shape
    if shape.is_dynamic or shape.rank.get_length() != 4:
        return False
    pictured = [int(side.get_length()) for side in shape]
    height, width = pictured[2:] if pictured[1] == 3 else pictured[1:3]
    return sides[0] == sum((height // stride) * (width // stride) for stride in STRIDES)


class YoloxAdapter:
    """Decodes grid cells, then suppresses per class."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` give labels by class number."""
        self.labels = options.labels
        self._options = options
        self._cells, self._strides = grid(0, 0)
        self._size = np.ones(4, np.float32)

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        layout, width, height = picture_input("yolox", model)
        if not fits(model):
            raise misfit("yolox", model, EXPECTED)
        self._cells, self._strides = grid(width, height)
        self._size = np.array((width, height, width, height), np.float32)
        built, name = take_bytes(model, layout, self._options.mean, self._options.scale)
        return PreparedModel(built, name, width, height, colour_of(self._options, "BGR"), Resize.LETTERBOX, fill=FILL)

    def decode(self, outputs: Outputs, placement: Placement, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        rows = outputs[0].reshape(len(self._cells), -1)
        # A class score is at most 1, so objectness alone rules out nearly every cell.
        chosen = np.flatnonzero(rows[:, 4] >= threshold)
        if chosen.size == 0:
            return []
        found = rows[chosen]
        classes = np.argmax(found[:, 5:], axis=1)
        scores = found[:, 4] * found[np.arange(len(found)), 5 + classes]
        good = (scores >= threshold) & np.isfinite(found[:, :4]).all(axis=1)
        chosen, found, classes, scores = chosen[good], found[good], classes[good], scores[good]
        strides = self._strides[chosen]
        centres = (found[:, :2] + self._cells[chosen]) * strides
        halves = np.exp(np.minimum(found[:, 2:4], _MAX_LOG_SIZE)) * strides / 2
        boxes = np.concatenate((centres - halves, centres + halves), axis=1)
        kept = keep_surest(boxes, scores, classes, OVERLAP_LIMIT)
        return detections(self.labels, classes[kept], scores[kept], boxes[kept] / self._size, placement)


def _sides(model: Any) -> tuple[int, int] | None:
    """(cells, numbers per cell) of the only output, None where it has another form."""
    if len(model.outputs) != 1:
        return None
    shape = model.outputs[0].partial_shape
    if shape.is_dynamic or shape.rank.get_length() != 3 or int(shape[0].get_length()) != 1:
        return None
    cells, numbers = int(shape[1].get_length()), int(shape[2].get_length())
    return (cells, numbers) if numbers > 5 else None
