"""SSD detectors of the Open Model Zoo, in both of its output forms.

Either one output 1 x 1 x n x 7: image number, class, confidence, then x_min, y_min, x_max, y_max as 0..1; a negative
image number ends the list. Or two outputs: `boxes` n x 5 (x_min, y_min, x_max, y_max in pixels of the input,
confidence) and `labels` n. The zoo's detectors take BGR, 0..255.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs, mismatch
from elastic_inference.flows.inference.adapters.boxes import FEW_BOXES, detections, few_detections
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, image_input
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel

# Most frames have fewer objects. The list then ends within these rows, and the rest need not be read.
_FIRST_ROWS = 8
EXPECTED = "one output 1x1xNx7, or two: boxes Nx5 and labels N"


def matches(model: Any) -> bool:
    """Whether the outputs have one of the two forms."""
    return _one_output(model) or _two_outputs(model) is not None


class SsdAdapter:
    """Decodes `DetectionOutput` rows, or boxes and labels."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` may set the labels by class number, and preprocessing other than BGR 0..255."""
        self.labels = options.labels
        self._options = options
        self._pair: tuple[int, int] | None = None
        self._size = np.ones(4, np.float32)

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        layout, width, height = image_input("ssd", model, self._options.size)
        self._pair = None if _one_output(model) else _two_outputs(model)
        if self._pair is None and not _one_output(model):
            raise mismatch("ssd", model, EXPECTED)
        self._size = np.array((width, height, width, height), np.float32)
        built, name = accept_bytes(model, layout, self._options.mean, self._options.scale)
        return PreparedModel(built, name, width, height, colour_of(self._options, "BGR"))

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        if self._pair is not None:
            return self._decode_pair(outputs, letterbox, threshold)
        rows = outputs[0].reshape(-1, 7)
        head = rows[:_FIRST_ROWS].tolist()
        if not [row for row in head if row[0] < 0]:
            # Without numpy's comparisons, whose code has left the CPU cache since the last frame.
            chosen = [at for at, score in enumerate(rows[:, 2].tolist()) if score >= threshold]
            if not chosen:
                return []
            if chosen[-1] >= FEW_BOXES:
                return self._many(rows, chosen, letterbox)
            head = rows[: chosen[-1] + 1].tolist()
        return self._few(head, threshold, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`."""
        if self._pair is not None:
            return outputs[self._pair[0]].reshape(-1, 5)[:, 4]
        rows = outputs[0].reshape(-1, 7)
        ended = np.flatnonzero(rows[:, 0] < 0)
        return rows[: ended[0] if len(ended) else len(rows), 2]

    def _few(self, rows: list[list[float]], threshold: float, letterbox: Letterbox) -> list[Detection]:
        """Like `decode`, for few rows."""
        classes, scores, boxes = [], [], []
        for image, number, score, *box in rows:
            if image < 0:
                break
            if score >= threshold:
                classes.append(int(number) if math.isfinite(number) else -1)
                scores.append(score)
                boxes.append(box)
        return few_detections(self.labels, classes, scores, boxes, letterbox)

    def _many(self, rows: NDArray[Any], chosen: list[int], letterbox: Letterbox) -> list[Detection]:
        """Like `decode`; `chosen` are the numbers of the rows above the threshold."""
        ended = np.flatnonzero(rows[: chosen[-1] + 1, 0] < 0)
        rows = rows[[at for at in chosen if not len(ended) or at < ended[0]]]
        return detections(self.labels, _numbers(rows[:, 1]), rows[:, 2], rows[:, 3:7], letterbox)

    def _decode_pair(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        boxes_at, labels_at = self._pair or (0, 1)
        rows = outputs[boxes_at].reshape(-1, 5)
        classes = outputs[labels_at].reshape(-1)[: len(rows)]
        chosen = rows[:, 4] >= threshold
        rows = rows[chosen]
        return detections(self.labels, _numbers(classes[chosen]), rows[:, 4], rows[:, :4] / self._size, letterbox)


def _numbers(classes: Any) -> Any:
    return np.nan_to_num(classes, nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)


def _one_output(model: Any) -> bool:
    return len(model.outputs) == 1 and _ends_with(model.outputs[0], 4, 7)


def _two_outputs(model: Any) -> tuple[int, int] | None:
    """(index of boxes, index of labels), None if there is no such pair."""
    boxes = [at for at, port in enumerate(model.outputs) if _ends_with(port, 2, 5)]
    labels = [at for at, port in enumerate(model.outputs) if _rank(port) == 1]
    return (boxes[0], labels[0]) if len(boxes) == 1 and len(labels) == 1 else None


def _rank(port: Any) -> int:
    shape = port.partial_shape
    return 0 if shape.rank.is_dynamic else int(shape.rank.get_length())


def _ends_with(port: Any, rank: int, last: int) -> bool:
    if _rank(port) != rank:
        return False
    side = port.partial_shape[rank - 1]
    return side.is_static and int(side.get_length()) == last
