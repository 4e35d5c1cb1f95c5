"""Detectors of the TensorFlow Object Detection API, as frozen graph, SavedModel or TensorFlow Lite.

Four outputs, found by name or, in TensorFlow Lite, by their published order: detection_boxes 1 x n x 4 (y_min, x_min,
y_max, x_max as 0..1), detection_classes 1 x n, detection_scores 1 x n, num_detections 1.

The input is RGB, 0..255. Frozen graphs take any size, since they resize by themselves: they get 300 x 300, the size
that they were trained with, unless the model has a fixed one. Frozen graphs count classes from 1, TensorFlow Lite from
0: the labels follow the model's own numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.adapter import Outputs, mismatch
from elastic_inference.flows.inference.adapters.boxes import detections
from elastic_inference.flows.inference.adapters.graph import accept_bytes, colour_of, image_input
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel

EXPECTED = "outputs detection_boxes 1xNx4, detection_classes 1xN, detection_scores 1xN and num_detections 1"
DYNAMIC_SIZE = (300, 300)
_WORDS = {"boxes": "detection_boxes", "classes": "detection_classes", "scores": "detection_scores", "count": "num_det"}
# TensorFlow Lite's names show only the order of the outputs, which differs between its two exporters.
_LITE_ORDER = {
    "TFLite_Detection_PostProcess": ("boxes", "classes", "scores", "count"),
    "StatefulPartitionedCall": ("scores", "boxes", "count", "classes"),
}


def matches(model: Any) -> bool:
    """Whether the four outputs are present."""
    return _roles(model) is not None


class TfDetectionAdapter:
    """Reads the four outputs; the suppression is part of the graph."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` may set the labels by the model's own class numbers."""
        self.labels = options.labels or options.export.names
        self._options = options
        self._roles = {"boxes": 0, "classes": 1, "scores": 2, "count": 3}

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        roles = _roles(model)
        if roles is None:
            raise mismatch("tf-detection", model, EXPECTED)
        self._roles = roles
        layout, width, height = image_input("tf-detection", model, self._options.size or DYNAMIC_SIZE)
        mean, scale = self._options.mean, self._options.scale
        if mean is None and scale is None and _takes_lite_floats(model):
            mean, scale = (127.5,), (127.5,)
        built, name = accept_bytes(model, layout, mean, scale)
        return PreparedModel(built, name, width, height, colour_of(self._options, "RGB"))

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        scores = self.scores(outputs)
        chosen = np.flatnonzero(scores >= threshold)
        if chosen.size == 0:
            return []
        boxes = outputs[self._roles["boxes"]].reshape(-1, 4)[chosen][:, [1, 0, 3, 2]]
        classes = np.nan_to_num(outputs[self._roles["classes"]].reshape(-1)[chosen], nan=-1.0).astype(np.int64)
        return detections(self.labels, classes, scores[chosen], boxes, letterbox)

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """See `Adapter.scores`."""
        scores = outputs[self._roles["scores"]].reshape(-1)
        count = outputs[self._roles["count"]].reshape(-1)
        return scores[: max(0, int(count[0]))] if count.size and np.isfinite(count[0]) else scores


def _takes_lite_floats(model: Any) -> bool:
    """Whether it is an unquantised TensorFlow Lite export, which takes -1..1; frozen graphs scale by themselves."""
    names = " ".join(name for port in model.outputs for name in port.get_names())
    return "float" in model.inputs[0].get_element_type().get_type_name() and any(word in names for word in _LITE_ORDER)


def _roles(model: Any) -> dict[str, int] | None:
    """The index of each output by its role; None if one is missing."""
    names = [" ".join(sorted(port.get_names())) for port in model.outputs]
    found: dict[str, int] = {}
    for role, word in _WORDS.items():
        at = [index for index, name in enumerate(names) if word in name]
        if at:
            found[role] = at[0]
    if len(found) == 4:
        return found
    if len(model.outputs) != 4:
        return None
    for word, order in _LITE_ORDER.items():
        if all(word in name for name in names):
            numbers = [_suffix(name, word) for name in names]
            by_number = sorted(range(4), key=lambda index: numbers[index])
            return {role: by_number[index] for index, role in enumerate(order)}
    return None


def _suffix(names: str, word: str) -> int:
    """The number after `word` in a name such as `TFLite_Detection_PostProcess:2`; 0 without one."""
    for name in names.split():
        if name.startswith(word):
            digits = name[len(word) :].lstrip(":")
            return int(digits) if digits.isdigit() else 0
    return 0
