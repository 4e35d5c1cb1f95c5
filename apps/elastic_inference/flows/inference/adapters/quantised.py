"""Gives a TensorFlow Lite model whose inputs or outputs are quantised the inputs and outputs of the model that it was.

OpenVINO calculates with real numbers between them, and converts at both ends: outputs are rounded to whole numbers, and
inputs are not scaled, so they mean something else than the exporter's. Called by `engine`.
"""

from __future__ import annotations

from typing import Any

_QUANTISED = frozenset({"i8", "u8", "i16"})


def without_quantised_ports(model: Any) -> None:
    """Lets quantised inputs and outputs of an `openvino.Model` be real numbers (f32); leaves all others alone."""
    changed = [_real_output(result) for result in model.get_results()]
    changed += [_real_input(parameter) for parameter in model.get_parameters()]
    if any(changed):
        model.validate_nodes_and_infer_types()


def _real_output(result: Any) -> bool:
    """Takes what is before the rounding, within the limits that the output has."""
    from openvino import opset13 as ops  # noqa: PLC0415  slow to load

    port = result.input_value(0)
    convert = port.get_node()
    if not _is_quantised(port) or convert.get_type_name() != "Convert":
        return False
    quantise = convert.input_value(0).get_node()
    if quantise.get_type_name() != "FakeQuantize":
        return False
    value, low, high = (quantise.input_value(index) for index in range(3))
    real = ops.fake_quantize(value, low, high, low, high, quantise.get_attributes()["levels"]).output(0)
    real.get_tensor().set_names(port.get_names())
    result.input(0).replace_source_output(real)
    return True


def _real_input(parameter: Any) -> bool:
    """Takes the real numbers that the whole ones stood for."""
    from openvino import Type  # noqa: PLC0415  slow to load

    port = parameter.output(0)
    if not _is_quantised(port):
        return False
    while (node := _only_reader(port)) is not None and node.get_type_name() in ("Transpose", "Convert"):
        port = node.output(0)
    if node is None or node.get_type_name() != "FakeQuantize":
        return False
    for at, real in ((1, 3), (2, 4)):
        node.input(at).replace_source_output(node.input_value(real))
    parameter.set_element_type(Type.f32)
    return True


def _is_quantised(port: Any) -> bool:
    return port.get_element_type().get_type_name() in _QUANTISED


def _only_reader(port: Any) -> Any:
    readers = port.get_target_inputs()
    return next(iter(readers)).get_node() if len(readers) == 1 else None
