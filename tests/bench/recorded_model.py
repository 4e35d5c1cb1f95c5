"""A model that computes nothing: it takes the input of a real one, and returns what that once returned for a frame.

With it, a pod does all of its own work, and nothing but that. `pod_cost` runs `python -m tests.bench.recorded_model
MODEL MODELS FOLDER`, with a JPEG on the input.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from elastic_inference.adapters.catalogue import find_model
from elastic_inference.flows.inference.adapters.preprocessing import preprocess
from tests.bench.pod_children import TYPE, compiled


def record_model(name: str, models: Path, jpeg: bytes, folder: Path) -> None:
    """Writes the model to `folder`, a folder of models, where it has the same name.

    Its outputs need one value of the input, so the engine must take that, but reads nothing else of it.
    """
    import openvino
    from openvino import opset13 as ops

    model, prepared, _adapter = compiled(models, name, "LATENCY")
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    colours = image if prepared.colour == "BGR" else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    found = model({prepared.input_name: preprocess(colours, prepared)})
    spec = find_model(name, models, TYPE)
    original = openvino.Core().read_model(spec.path)
    port = original.inputs[0]
    parameter = ops.parameter(list(port.get_shape()), np.float32, port.any_name)
    parameter.output(0).set_names(port.names)
    first = ops.slice(parameter, [0] * 4, [1] * 4, [1] * 4, list(range(4)))
    nothing = ops.multiply(ops.reshape(first, [1], special_zero=False), np.zeros(1, np.float32))
    results = []
    for output, values in zip(original.outputs, found.values(), strict=True):
        same = ops.add(ops.constant(np.array(values, np.float32)), nothing)
        same.output(0).set_names(output.names)
        results.append(ops.result(same))
    precision = spec.path.parent.name
    place = folder / spec.name / precision if precision != spec.name else folder / spec.name
    place.mkdir(parents=True, exist_ok=True)
    recorded = openvino.Model(results, [parameter], spec.name)
    openvino.save_model(recorded, place / f"{spec.name}.xml", compress_to_fp16=False)


if __name__ == "__main__":
    record_model(sys.argv[1], Path(sys.argv[2]), sys.stdin.buffer.read(), Path(sys.argv[3]))
