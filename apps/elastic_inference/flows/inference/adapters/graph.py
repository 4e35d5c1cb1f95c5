"""Builds the preprocessing of a model with one image input into its OpenVINO graph. Used by the adapters only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters.base import AdapterOptions, mismatch
from elastic_inference.flows.inference.adapters.preprocessing import COLOURS

MAX_SIDE = 8192


def image_input(family: str, model: Any, size: tuple[int, int] | None = None) -> tuple[str, int, int]:
    """(layout, width, height) of the model's only input, `NCHW` or `NHWC`; dynamic sides become `size` (w, h).

    A dynamic batch becomes 1. Raises ModelError for several inputs, or for one that is not a colour image.
    """
    expected = "one input, an image with 3 channels, 1x3xHxW or 1xHxWx3"
    if len(model.inputs) != 1:
        raise mismatch(family, model, expected)
    shape = model.inputs[0].partial_shape
    if shape.rank.is_dynamic or shape.rank.get_length() != 4:
        raise mismatch(family, model, expected)
    sides = [None if side.is_dynamic else side.get_length() for side in shape]
    if sides[3] == 3 and sides[1] != 3:
        layout, height, width = "NHWC", sides[1], sides[2]
    elif sides[1] == 3:
        layout, height, width = "NCHW", sides[2], sides[3]
    else:
        raise mismatch(family, model, expected)
    if (width is None or height is None) and size is None:
        raise mismatch(family, model, "a fixed width and height")
    width, height = width or (size or (0, 0))[0], height or (size or (0, 0))[1]
    if sides[0] not in (None, 1) or not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise mismatch(family, model, expected)
    wanted = [1, 3, height, width] if layout == "NCHW" else [1, height, width, 3]
    if shape.is_dynamic:
        model.reshape(wanted)
    return layout, width, height


def accept_bytes(
    model: Any, layout: str, mean: Sequence[float] | None = None, scale: Sequence[float] | None = None
) -> tuple[Any, str]:
    """(model, name of its input): it takes uint8 NHWC, and its graph does layout, conversion, mean and scale."""
    from openvino import Layout, Type  # noqa: PLC0415  slow to load
    from openvino.preprocess import PrePostProcessor  # noqa: PLC0415

    element = model.inputs[0].get_element_type()
    steps = PrePostProcessor(model)
    port = steps.input()
    port.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    port.model().set_layout(Layout(layout))
    if mean is not None or scale is not None:
        port.preprocess().convert_element_type(Type.f32)
        if mean is not None:
            port.preprocess().mean(list(mean))
        if scale is not None:
            port.preprocess().scale(list(scale))
    if element != Type.u8 or mean is not None or scale is not None:
        port.preprocess().convert_element_type(element)
    for output in range(len(model.outputs)):
        steps.output(output).tensor().set_element_type(_output_type(model.outputs[output], Type))
    built = steps.build()
    names = sorted(built.inputs[0].get_names())
    return built, names[0] if names else ""


def grid_cells(model: Any, strides: Sequence[int]) -> int | None:
    """How many cells of these strides, all together, cover the model's only input; None if its size is not fixed."""
    if len(model.inputs) != 1:
        return None
    shape = model.inputs[0].partial_shape
    if shape.is_dynamic or shape.rank.get_length() != 4:
        return None
    sides = [int(side.get_length()) for side in shape]
    height, width = sides[2:] if sides[1] == 3 else sides[1:3]
    return sum((height // stride) * (width // stride) for stride in strides)


def colour_of(options: AdapterOptions, default: str) -> str:
    """The colour order of the input: that of the options, else the family's own."""
    colour = (options.colour or default).upper()
    if colour not in COLOURS:
        raise ModelError(f"The colour order {options.colour!r} is not known: expected BGR or RGB.")
    return colour


def _output_type(port: Any, types: Any) -> Any:
    element = port.get_element_type()
    return types.f32 if element in (types.f16, types.bf16) else element
