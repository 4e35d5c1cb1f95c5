"""BlazeFace, MediaPipe's face detector (Bazarevsky et al., 2019), in its three published forms.

Input: RGB, -1..1, letterboxed in the middle of a black square of 128, 192 or 256 pixels.

Outputs: 1 x n x 16 (centre, size and six key points in pixels of the input, the centre relative to an anchor's) and
1 x n x 1 (score before the sigmoid).

Anchors are the centres of grid cells (MediaPipe's SSD anchors with fixed size). 896 anchors are two for each cell of
stride s and six for each cell of stride 2s, with s = side / 16. 2304 anchors are one for each cell of stride 4 of the
192 pixel form.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs, mismatch
from elastic_inference.flows.inference.adapters.boxes import FEW_BOXES, detections, few_detections
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, image_input
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel, Resize
from elastic_inference.flows.inference.adapters.suppression import merge_few, merge_weighted

EXPECTED = "a square input, and outputs 1xNx16 and 1xNx1 with N 896 or 2304"
# MediaPipe's value for all forms of the model.
OVERLAP_LIMIT = 0.3
_COORDINATES = 16


def matches(model: Any) -> bool:
    """Whether the outputs are those of BlazeFace."""
    return _roles(model) is not None


def anchor_centres(side: int, count: int) -> NDArray[np.float32]:
    """Centres (`count` x 2: x, y, each 0..1) of the anchors of a model with a square input of `side` pixels.

    Raises ValueError if no published layout has that many anchors.
    """
    layouts = {896: ((side // 16, 2), (side // 8, 6)), 2304: ((4, 1),)}
    if count not in layouts:
        raise ValueError(f"no BlazeFace has {count} anchors: expected 896 or 2304")
    centres = []
    for stride, repeats in layouts[count]:
        cells = side // stride
        rows, columns = np.mgrid[0:cells, 0:cells]
        grid = np.stack((columns, rows), axis=-1).reshape(-1, 2)
        centres.append(np.repeat((grid + 0.5) / cells, repeats, axis=0))
    return np.concatenate(centres).astype(np.float32)


class BlazeFaceAdapter:
    """Decodes anchors, then merges overlapping boxes weighted by score."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options.labels` may give class 0 a name other than `face`."""
        self.labels = options.labels or ("face",)
        self._options = options
        self._roles = (0, 1)
        self._anchors = np.zeros((0, 2), np.float32)
        self._centres: list[list[float]] = []
        self._side = 1.0

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        layout, width, height = image_input("blazeface", model)
        roles = _roles(model)
        if roles is None or width != height:
            raise mismatch("blazeface", model, EXPECTED)
        count = int(model.outputs[roles[0]].partial_shape[1].get_length())
        self._anchors = anchor_centres(width, count)
        if len(self._anchors) != count:
            raise mismatch("blazeface", model, EXPECTED)
        self._centres = self._anchors.tolist()
        self._roles = roles
        self._side = float(width)
        mean, scale = self._options.mean or (127.5,), self._options.scale or (127.5,)
        built, name = accept_bytes(model, layout, mean, scale)
        return PreparedModel(
            built, name, width, height, colour_of(self._options, "RGB"), Resize.LETTERBOX, fill=0, centred=True
        )

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        raw_boxes = outputs[self._roles[0]].reshape(-1, _COORDINATES)
        raw_scores = outputs[self._roles[1]].reshape(-1)
        # The sigmoid is monotonic, so raw scores are compared with the threshold's logit; few anchors remain.
        (chosen,) = (raw_scores >= _logit(threshold)).nonzero()
        anchors = chosen.tolist()
        if not anchors:
            return []
        if len(anchors) <= FEW_BOXES:
            boxes, scores = raw_boxes.take(chosen, 0).tolist(), raw_scores.take(chosen).tolist()
            return self._few(boxes, scores, anchors, letterbox)
        raw = raw_boxes[chosen, :4].astype(np.float64) / self._side
        centres = raw[:, :2] + self._anchors[chosen]
        halves = raw[:, 2:] / 2
        boxes = np.concatenate((centres - halves, centres + halves), axis=1)
        scores = 1.0 / (1.0 + np.exp(-np.clip(raw_scores[chosen].astype(np.float64), -80.0, 80.0)))
        good = np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & (halves > 0).all(axis=1)
        merged, kept = merge_weighted(boxes[good], scores[good], OVERLAP_LIMIT)
        return detections(self.labels, np.zeros(len(kept), np.int64), kept, merged, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`."""
        raw = outputs[self._roles[1]].reshape(-1).astype(np.float64)
        scores: NDArray[Any] = 1.0 / (1.0 + np.exp(-np.clip(raw, -80.0, 80.0)))
        return scores

    def _few(
        self, raw_boxes: list[list[float]], raw_scores: list[float], anchors: list[int], letterbox: Letterbox
    ) -> list[Detection]:
        """Like `decode`, for few anchors above the threshold; `anchors` are their numbers."""
        pixel = 1.0 / self._side
        boxes, scores = [], []
        for raw, score, at in zip(raw_boxes, raw_scores, anchors, strict=True):
            x, y = self._centres[at]
            x, y = x + raw[0] * pixel, y + raw[1] * pixel
            half_x, half_y = raw[2] * pixel / 2, raw[3] * pixel / 2
            # A NaN or an infinity anywhere makes the sum one.
            if half_x > 0 and half_y > 0 and math.isfinite(x + y + half_x + half_y):
                boxes.append((x - half_x, y - half_y, x + half_x, y + half_y))
                scores.append(1.0 / (1.0 + math.exp(-min(max(score, -80.0), 80.0))))
        merged, kept = merge_few(boxes, scores, OVERLAP_LIMIT)
        return few_detections(self.labels, [0] * len(kept), kept, merged, letterbox)


@cache
def _logit(share: float) -> float:
    inside = min(max(share, 1e-12), 1.0 - 1e-12)
    return math.log(inside / (1.0 - inside))


def _roles(model: Any) -> tuple[int, int] | None:
    """(index of boxes, index of scores), None for other outputs."""
    if len(model.outputs) != 2:
        return None
    shapes = [port.partial_shape for port in model.outputs]
    if any(shape.is_dynamic or shape.rank.get_length() != 3 for shape in shapes):
        return None
    sides = [tuple(int(side.get_length()) for side in shape) for shape in shapes]
    for boxes, scores in ((0, 1), (1, 0)):
        count = sides[boxes][1]
        if sides[boxes] == (1, count, _COORDINATES) and sides[scores] == (1, count, 1) and count in (896, 2304):
            return boxes, scores
    return None
