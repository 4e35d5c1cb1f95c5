"""Builds the preprocessing of a model with one image input into its OpenVINO graph. Used by the adapters only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.late import late
from elastic_inference.flows.inference.adapters.adapter import describe, mismatch
from elastic_inference.flows.inference.adapters.preprocessing import COLOURS

if TYPE_CHECKING:
    from elastic_inference.flows.inference.adapters import layouts
    from elastic_inference.flows.inference.adapters.layouts import Facts, Layout
else:
    # Not needed for a model that was kept compiled.
    layouts = late("elastic_inference.flows.inference.adapters.layouts")

MAX_SIDE = 8192
# Ultralytics' tasks whose boxes are served.
TASKS = ("detect", "segment", "pose")


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
        raise mismatch(family, model, "a fixed width and height, or `size` in its side file")
    width, height = width or (size or (0, 0))[0], height or (size or (0, 0))[1]
    if sides[0] not in (None, 1) or not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise mismatch(family, model, expected)
    wanted = [1, 3, height, width] if layout == "NCHW" else [1, height, width, 3]
    if shape.is_dynamic:
        model.reshape(wanted)
    return layout, width, height


def settle(model: Any, options: AdapterOptions) -> None:
    """Fixes what an export leaves open: additional inputs, a dynamic batch, and a dynamic size if one is known.

    The size is that of the side file, else that of the exporter's metadata. Another input for the frame's size becomes
    a constant: the input's own size. Does nothing the second time. Raises ModelError for a batch of several images.
    """
    images = [port for port in model.inputs if _is_image(port)]
    if len(images) != 1:
        return
    shape = images[0].partial_shape
    sides = [None if side.is_dynamic else int(side.get_length()) for side in shape]
    last = sides[3] == 3 and sides[1] != 3
    if sides[0] is not None and sides[0] > 1 and 3 in (sides[1], sides[3]):
        raise ModelError(
            f"The model takes {sides[0]} images at once ({describe(model)}), but frames are inferred one by one: "
            "export it with a batch of 1, or with a dynamic one."
        )
    size = options.size or layouts.export_of(model, options.export).size
    wanted = [sides[0] or 1, *sides[1:]]
    if size is not None:
        width, height = size
        full = (height, width, 3) if last else (3, height, width)
        wanted[1:] = [side or fixed for side, fixed in zip(sides[1:], full, strict=True)]
    if shape.is_dynamic and wanted != sides:
        _reshape(model, images[0], [-1 if side is None else side for side in wanted])
    height, width = ((side or 0) for side in (wanted[1:3] if last else wanted[2:4]))
    for port in [port for port in model.inputs if not _is_image(port)]:
        _bind(model, port, width, height)


@dataclass(frozen=True, slots=True)
class Export:
    """A settled export: the input's `layout` (`NCHW` or `NHWC`) and size, and the row of `layouts` that fits."""

    layout: str
    width: int
    height: int
    facts: Facts
    row: Layout
    labels: tuple[str, ...]

    @property
    def size(self) -> NDArray[np.float32]:
        """(width, height, width, height): corners in pixels divided by it are 0..1 of the input."""
        return np.array((self.width, self.height) * 2, np.float32)

    def indices(self, family: str, model: Any, names: Sequence[str]) -> tuple[int, ...]:
        """The index of each named output. Raises ModelError if one is missing."""
        found = self.facts.named(*names)
        if found is None:
            raise mismatch(family, model, self.row.expected)
        return tuple(found[name] for name in names)


def recognise(family: str, model: Any, options: AdapterOptions) -> Export:
    """Settles a model, and finds its row of `layouts`. Raises ModelError if that is not one of the family's."""
    settle(model, options)
    layout, width, height = image_input(family, model, options.size)
    facts = layouts.facts_of(model, layouts.export_of(model, options.export), options.labels)
    row = layouts.find_layout(facts, options.layout)
    refuse_other_tasks(model, facts.export.task, row)
    if row is None or row.family != family:
        raise mismatch(family, model, layouts.expected_of(family))
    return Export(layout, width, height, facts, row, options.labels or facts.export.names)


def refuse_other_tasks(model: Any, task: str, layout: Layout | None) -> None:
    """Raises ModelError for an export whose boxes are not served, by the `task` of its metadata, else by its graph."""
    if task and task not in TASKS:
        raise ModelError(
            f"The model is an export for the task {task!r}, which is not supported: expected one of "
            f"{', '.join(TASKS)} (doc/models.md)."
        )
    # Oriented boxes have the shape of a detector with one more class, which is the angle. The centre is computed from
    # it; nothing in such a detector is.
    is_grid = layout is not None and layout.name == "grid"
    if not task and is_grid and {"Cos", "Sin"} <= {node.get_type_name() for node in model.get_ops()}:
        raise ModelError(
            "The model computes its boxes from an angle, as an export for the task 'obb' (oriented boxes) does, which "
            "is not supported. If it is a detector, put its exporter's metadata.yaml beside it, with `task: detect` "
            "(doc/models.md)."
        )


# Inputs beside the image that some exporters have, and the constant that suits one frame of the input's own size.
_FURTHER: dict[str, Callable[[int, int], Any]] = {
    "orig_target_sizes": lambda width, height: [[width, height]],
    "orig_sizes": lambda width, height: [[width, height]],
    "pixel_mask": lambda width, height: np.ones((1, height, width)),
    "im_shape": lambda width, height: [[height, width]],
    "scale_factor": lambda *_: [[1, 1]],
}


def _is_image(port: Any) -> bool:
    shape = port.partial_shape
    return bool(shape.rank.is_static and shape.rank.get_length() == 4)


def _reshape(model: Any, port: Any, sides: list[int]) -> None:
    try:
        model.reshape({port: sides})
    except RuntimeError as error:
        size = "x".join("?" if side < 0 else str(side) for side in sides)
        reason = " ".join(str(error).split())[-200:]
        raise ModelError(
            f"The model cannot be prepared for an input of {size}: {reason}; set its size beside it."
        ) from None


def _bind(model: Any, port: Any, width: int, height: int) -> None:
    """Replaces an additional input with its constant; leaves an unknown one, which `image_input` then refuses."""
    from openvino import opset13 as ops  # noqa: PLC0415  slow to load

    known = [_FURTHER[name] for name in port.get_names() if name in _FURTHER]
    if not known or not width or not height:
        return
    value = np.asarray(known[0](width, height), port.get_element_type().to_dtype())
    constant = ops.constant(value).output(0)
    parameter = port.get_node()
    for target in parameter.output(0).get_target_inputs():
        target.replace_source_output(constant)
    model.remove_parameter(parameter)
    model.validate_nodes_and_infer_types()


def scale_of(model: Any, options: AdapterOptions, default: float | None) -> tuple[float, ...] | None:
    """The divisor of the image: that of the options, else `default`, but none for an input of whole numbers."""
    if options.scale is not None or default is None:
        return options.scale
    return (default,) if "f" in model.inputs[0].get_element_type().get_type_name() else None


def accept_bytes(
    model: Any, layout: str, mean: Sequence[float] | None = None, scale: Sequence[float] | None = None
) -> tuple[Any, str]:
    """(model, name of its input): it takes uint8 NHWC, and its graph handles layout, conversion, mean and scale."""
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
        raise ModelError(f"The colour order {options.colour!r} is unknown: expected BGR or RGB.")
    return colour


def _output_type(port: Any, types: Any) -> Any:
    element = port.get_element_type()
    return types.f32 if element in (types.f16, types.bf16) else element
