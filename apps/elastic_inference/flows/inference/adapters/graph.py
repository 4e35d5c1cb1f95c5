"""Builds the preprocessing of a one-picture model into its OpenVINO graph. Used by the adapters only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters.base import COLOURS, AdapterOptions, misfit

MAX_SIDE = 8192


def picture_input(family: str, model: Any, size: tuple[int, int] | None = None) -> tuple[str, int, int]:
    """(layout, width, height) of the model's only input, `NCHW` or `NHWC`; dynamic sides become `size` (w, h).

    A dynamic batch becomes 1. Raises ModelError for more inputs than one, or one that is no colour picture.
    """
    expected = "one input, a picture of 3 channels, 1x3xHxW or 1xHxWx3"
    if len(model.inputs) != 1:
        raise misfit(family, model, expected)
    shape = model.inputs[0].partial_shape
    if shape.rank.is_dynamic or shape.rank.get_length() != 4:
        raise misfit(family, model, expected)
    sides = [None if side.is_dynamic else side.get_length() for side in shape]
    if sides[3] == 3 and sides[1] != 3:
        layout, height, width = "NHWC", sides[1], sides[2]
    elif sides[1] == 3:
        layout, height, width = "NCHW", sides[2], sides[3]
    else:
        raise misfit(family, model, expected)
    if (width is None or height is None) and size is None:
        raise misfit(family, model, "a fixed width and height")
    width, height = width or (size or (0, 0))[0], height or (size or (0, 0))[1]
    if sides[0] not in (None, 1) or not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise misfit(family, model, expected)
    wanted = [1, 3, height, width] if layout == "NCHW" else [1, height, width, 3]
    if shape.is_dynamic:
        model.reshape(wanted)
    return layout, width, height


def take_bytes(
    model: Any, layout: str, mean: Sequence[float] | None = None, scale: Sequence[float] | None = None
) -> tuple[Any, str]:
    """(model, name of its input) that takes uint8 NHWC and does layout, conversion, mean and scale in its graph."""
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


def colour_of(options: AdapterOptions, default: str) -> str:
    """The colour order to feed: the options', else the family's own."""
    colour = (options.colour or default).upper()
    if colour not in COLOURS:
        raise ModelError(f"The colour order {options.colour!r} is not known: expected BGR or RGB.")
    return colour


def _output_type(port: Any, types: Any) -> Any:
    element = port.get_element_type()
    return types.f32 if element in (types.f16, types.bf16) else element
