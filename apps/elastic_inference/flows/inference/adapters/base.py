"""The port between the inference flow and the model families: what a model wants to see, and what it has found.

The flow asks an adapter to `prepare` a model once, feeds it pictures as `PreparedModel` says (`fit` does it), and hands
the outputs to `decode`. Adapters know OpenVINO's graph and numpy; they know no queue, no JPEG and no thread. `decode`
keeps no state between calls and may run in several threads at once.

The picture is resized before the graph, not in it. Measured with OpenVINO 2026.4 on one core, 768x432 and 640x360
sources: a graph that resizes has a dynamic input and took 8.0 ms against 5.9 ms (face-detection-retail-0005 FP16-INT8),
9.8 against 7.7 (FP32) and 17.5 against 14.9 (person-detection-retail-0013 FP16-INT8), `cv2.resize` (0.3 to 0.4 ms)
included. Conversion to float, layout, mean and scale stay in the graph, where they cost nothing measurable. Colour
order costs nothing either: the JPEG decoder gives what `PreparedModel.colour` names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.result import Detection

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]
Outputs = Mapping[Any, npt.NDArray[Any]] | Sequence[npt.NDArray[Any]]

COLOURS = ("BGR", "RGB")
# So many boxes are faster without numpy: between two inferences its code is out of the cache, and each call of it took
# some 0.02 ms in a busy pod.
FEW = 24


class Resize(StrEnum):
    """How a picture of another shape than the model's input is brought to it."""

    STRETCH = "stretch"
    """Both sides are stretched to fit."""
    LETTERBOX = "letterbox"
    """The shape is kept; the rest is filled: all of it at the right or the bottom, or half on each side."""


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model that takes one picture, uint8, 1 x `height` x `width` x 3, in the order of `colour`.

    `model` is ready to be compiled; its outputs, in their order, are what `decode` wants. `resize`, `fill` (0..255) and
    `centred` say how a picture gets to that size; `fit` does it.
    """

    model: Any
    input_name: str
    width: int
    height: int
    colour: str = "BGR"
    resize: Resize = Resize.STRETCH
    fill: int = 0
    centred: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the frame lies in the model's input: frame = (model - offset) * scale, all as shares (0..1).

    `width` and `height` are the frame's own size in pixels, where an adapter has to know it (0: not known).
    """

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0
    width: int = 0
    height: int = 0

    def to_frame(self, boxes: Floats) -> npt.NDArray[np.float32]:
        """Boxes (n x 4, xyxy, shares of the model's input) as shares of the frame, cut to 0..1."""
        offset = np.array((self.offset_x, self.offset_y, self.offset_x, self.offset_y), np.float32)
        scale = np.array((self.scale_x, self.scale_y, self.scale_x, self.scale_y), np.float32)
        placed: npt.NDArray[np.float32] = np.clip((boxes - offset) * scale, 0.0, 1.0).astype(np.float32)
        return placed


class Adapter(Protocol):
    """One family of models. One instance serves one model."""

    labels: tuple[str, ...]

    def prepare(self, model: Any) -> PreparedModel:
        """Checks an `openvino.Model` and builds its preprocessing in. Call once, before any `decode`.

        Raises ModelError that says what was found and what was expected.
        """
        ...

    def decode(self, outputs: Outputs, placement: Placement, threshold: float) -> list[Detection]:
        """Detections with at least `threshold` confidence, the surest first, boxes cut to 0..1 of the frame.

        `outputs` is anything that gives the model's output number i (in the order of `PreparedModel.model.outputs`)
        as `outputs[i]`: a list, a dict with integer keys. Values that are not finite are skipped.
        """
        ...


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """What the catalogue or a side file says about a model.

    `labels` are indexed by the model's class number ('' where a number is not used); `colour`, `mean` and `scale`
    (picture value - mean) / scale, one or three numbers in 0..255) override the family's own, None keeps it.
    `wrapper` and `configuration` are for the `model-api` family only.
    """

    labels: tuple[str, ...] = ()
    colour: str | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    wrapper: str | None = None
    configuration: Mapping[str, Any] | None = None


def place(frame_width: int, frame_height: int, prepared: PreparedModel) -> Placement:
    """The placement of a frame of this size (pixels) that `fit` brings to the model's input."""
    if prepared.resize is Resize.STRETCH:
        return Placement(width=frame_width, height=frame_height)
    left, top, width, height = _letterbox(frame_width, frame_height, prepared)
    return Placement(
        scale_x=prepared.width / width,
        scale_y=prepared.height / height,
        offset_x=left / prepared.width,
        offset_y=top / prepared.height,
        width=frame_width,
        height=frame_height,
    )


def fit(picture: Picture, prepared: PreparedModel, out: Picture | None = None) -> Picture:
    """`picture` (H x W x 3, uint8, in the order of `prepared.colour`) brought to 1 x height x width x 3, contiguous.

    Writes into `out` of that shape where it is given. Else a picture that fits already is returned as a view. A picture
    decoded at reduced scale is placed as the whole frame would be, to within a pixel of the model's input.
    """
    height, width = picture.shape[:2]
    wanted = (prepared.width, prepared.height)
    if (width, height) == wanted:
        if out is None:
            return np.ascontiguousarray(picture)[None]
        out[0] = picture
        return out
    target = np.empty((1, prepared.height, prepared.width, 3), np.uint8) if out is None else out
    if prepared.resize is Resize.STRETCH:
        cv2.resize(picture, wanted, dst=target[0], interpolation=cv2.INTER_LINEAR)
        return target
    left, top, inner_width, inner_height = _letterbox(width, height, prepared)
    target[0, :top] = prepared.fill
    target[0, top + inner_height :] = prepared.fill
    target[0, :, :left] = prepared.fill
    target[0, :, left + inner_width :] = prepared.fill
    inner = target[0, top : top + inner_height, left : left + inner_width]
    inner[:] = cv2.resize(picture, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR)
    return target


def _letterbox(frame_width: int, frame_height: int, prepared: PreparedModel) -> tuple[int, int, int, int]:
    """(left, top, width, height) in pixels of the model's input that a frame of this size covers."""
    ratio = min(prepared.width / frame_width, prepared.height / frame_height)
    width = min(prepared.width, max(1, round(frame_width * ratio)))
    height = min(prepared.height, max(1, round(frame_height * ratio)))
    if not prepared.centred:
        return 0, 0, width, height
    return (prepared.width - width) // 2, (prepared.height - height) // 2, width, height


def detections(
    labels: tuple[str, ...],
    classes: npt.NDArray[Any],
    confidences: Floats,
    boxes: Floats,
    placement: Placement,
) -> list[Detection]:
    """Detections of boxes (n x 4, shares of the model's input): finite, not empty within the frame, surest first."""
    if len(boxes) == 0:
        return []
    if len(boxes) <= FEW:
        return few_detections(labels, classes.tolist(), confidences.tolist(), boxes.tolist(), placement)
    good = np.isfinite(boxes).all(axis=1) & np.isfinite(confidences)
    placed = placement.to_frame(boxes[good])
    ids, sure = classes[good], np.minimum(confidences[good], 1.0)
    seen = (placed[:, 2] > placed[:, 0]) & (placed[:, 3] > placed[:, 1])
    placed, ids, sure = placed[seen], ids[seen], sure[seen]
    order = np.argsort(-sure, kind="stable")
    return [
        Detection(label_of(labels, int(number)), int(number), float(confidence), (box[0], box[1], box[2], box[3]))
        for number, confidence, box in zip(ids[order], sure[order], placed[order].tolist(), strict=True)
    ]


def few_detections(
    labels: tuple[str, ...],
    classes: list[int],
    confidences: list[float],
    boxes: Sequence[Sequence[float]],
    placement: Placement,
) -> list[Detection]:
    """As `detections`, of lists: numpy's price per call is more than a few boxes' arithmetic."""
    found = []
    offset_x, offset_y = placement.offset_x, placement.offset_y
    scale_x, scale_y = placement.scale_x, placement.scale_y
    for number, confidence, box in zip(classes, confidences, boxes, strict=True):
        # A NaN or an infinity makes the sum one.
        if not math.isfinite(sum(box) + confidence):
            continue
        x_min = min(max((box[0] - offset_x) * scale_x, 0.0), 1.0)
        y_min = min(max((box[1] - offset_y) * scale_y, 0.0), 1.0)
        x_max = min(max((box[2] - offset_x) * scale_x, 0.0), 1.0)
        y_max = min(max((box[3] - offset_y) * scale_y, 0.0), 1.0)
        if x_max > x_min and y_max > y_min:
            sure = min(confidence, 1.0)
            found.append(Detection(label_of(labels, int(number)), int(number), sure, (x_min, y_min, x_max, y_max)))
    found.sort(key=_by_confidence)
    return found


def _by_confidence(found: Detection) -> float:
    return -found.confidence


def label_of(labels: tuple[str, ...], number: int) -> str:
    """The name of a class; its number where there is none."""
    return (labels[number] if 0 <= number < len(labels) else "") or str(number)


def describe(model: Any) -> str:
    """A model's inputs and outputs in one line, for errors."""
    inputs = ", ".join(_shape(port) for port in model.inputs)
    outputs = ", ".join(_shape(port) for port in model.outputs)
    return f"input {inputs}; output {outputs}"


def misfit(family: str, model: Any, expected: str) -> ModelError:
    """The error of a model that does not fit its adapter."""
    return ModelError(f"The model does not fit the adapter '{family}': it has {describe(model)}; expected {expected}.")


def _shape(port: Any) -> str:
    names = sorted(port.get_names())
    return f"{names[0] if names else '(unnamed)'} {str(port.partial_shape).replace(',', 'x')}"
