"""How a frame gets into a model's input, and how the model's boxes get back onto the frame.

The inference flow calls `preprocess` for each frame; the adapters say in `PreparedModel` what their model takes.

Frames are resized before OpenVINO's graph, not in it. Measured with OpenVINO 2026.4 on one core, with sources of
768x432 and 640x360, `cv2.resize` (0.3 to 0.4 ms) included:

    ms per frame                                 resized before   resized in the graph, whose input is then dynamic
    face-detection-retail-0005 FP16-INT8                    5.9                                                8.0
    face-detection-retail-0005 FP32                         7.7                                                9.8
    person-detection-retail-0013 FP16-INT8                 14.9                                               17.5

Conversion to float, layout, mean and scale stay in the graph, where they cost nothing measurable. Colour order costs
nothing either: the JPEG decoder gives the order that `PreparedModel.colour` names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np

from elastic_inference.domain.array_type import NDArray
from elastic_inference.flows.inference.arrays import Floats, Image

COLOURS = ("BGR", "RGB")


class Resize(StrEnum):
    """How a frame is resized to the shape of the model's input."""

    STRETCH = "stretch"
    """Both sides are stretched."""
    LETTERBOX = "letterbox"
    """The shape is kept and the rest is filled: all of it at the right or the bottom, or half on each side."""


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model that takes one image, uint8, 1 x `height` x `width` x 3, in the order of `colour`.

    `model` is ready to be compiled; its outputs, in their order, are what `Adapter.decode` reads. `resize`, `fill`
    (0..255, one number, or three in the order of `colour`) and `centred` say how `preprocess` brings a frame to that
    size.
    """

    model: Any
    input_name: str
    width: int
    height: int
    colour: str = "BGR"
    resize: Resize = Resize.STRETCH
    fill: int | tuple[int, int, int] = 0
    centred: bool = False


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Maps the model's input to the frame: frame = (model - offset) * scale, where each is an (x, y) of 0..1.

    The default is a stretched frame.
    """

    offset: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)

    def to_frame(self, boxes: Floats) -> NDArray[np.float32]:
        """Maps boxes (n x 4, xyxy) from 0..1 of the model's input to 0..1 of the frame, and clips them."""
        offset, scale = np.array(self.offset * 2, np.float32), np.array(self.scale * 2, np.float32)
        mapped: NDArray[np.float32] = np.clip((boxes - offset) * scale, 0.0, 1.0).astype(np.float32)
        return mapped


def letterbox_of(frame_width: int, frame_height: int, prepared: PreparedModel) -> Letterbox:
    """The letterbox of a frame of this size (pixels) that `preprocess` brings to the model's input."""
    if prepared.resize is Resize.STRETCH:
        return Letterbox()
    left, top, width, height = _inner_box(frame_width, frame_height, prepared)
    return Letterbox(
        offset=(left / prepared.width, top / prepared.height), scale=(prepared.width / width, prepared.height / height)
    )


def preprocess(image: Image, prepared: PreparedModel, out: Image | None = None) -> Image:
    """`image` (H x W x 3, uint8, in the order of `prepared.colour`) as 1 x height x width x 3, contiguous.

    Writes into `out` if given. Without it, an image that already has the right size is returned as a view. An image
    decoded at reduced scale lands where the whole frame would, to within a pixel of the model's input.
    """
    height, width = image.shape[:2]
    if out is None and (width, height) == (prepared.width, prepared.height):
        return np.ascontiguousarray(image)[None]
    target = np.empty((1, prepared.height, prepared.width, 3), np.uint8) if out is None else out
    paste(image, begin_input(width, height, prepared, target))
    return target


def paste(image: Image, target: Image) -> None:
    """Writes `image` into `target` (H x W x 3, rows may lie apart), resized to its size."""
    if image.shape == target.shape:
        target[:] = image
    else:
        cv2.resize(image, (target.shape[1], target.shape[0]), dst=target, interpolation=cv2.INTER_LINEAR)


def begin_input(frame_width: int, frame_height: int, prepared: PreparedModel, out: Image) -> Image:
    """The part of `out` (1 x height x width x 3) that a frame of this size covers, as a view; fills the rest."""
    if prepared.resize is Resize.STRETCH:
        inner: Image = out[0]
        return inner
    left, top, width, height = _inner_box(frame_width, frame_height, prepared)
    out[0, :top] = prepared.fill
    out[0, top + height :] = prepared.fill
    out[0, :, :left] = prepared.fill
    out[0, :, left + width :] = prepared.fill
    inner = out[0, top : top + height, left : left + width]
    return inner


def _inner_box(frame_width: int, frame_height: int, prepared: PreparedModel) -> tuple[int, int, int, int]:
    """(left, top, width, height) in pixels of the model's input that a frame of this size covers."""
    ratio = min(prepared.width / frame_width, prepared.height / frame_height)
    width = min(prepared.width, max(1, round(frame_width * ratio)))
    height = min(prepared.height, max(1, round(frame_height * ratio)))
    if not prepared.centred:
        return 0, 0, width, height
    return (prepared.width - width) // 2, (prepared.height - height) // 2, width, height
