"""Small OpenVINO models made on the spot, and how to run one the way the inference service does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from elastic_inference.adapters.catalogue.find import ModelSpec
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters import (
    Adapter,
    AdapterOptions,
    PreparedModel,
    fit,
    guess_family,
    make_adapter,
    place,
)
from elastic_inference.flows.inference.runtime import load_openvino


def constant_model(
    input_shape: list[int], outputs: Mapping[str, npt.NDArray[Any]], rt_info: Mapping[str, str] | None = None
) -> Any:
    """A model with one picture input whose outputs are given, whatever it sees (0 * mean of the picture is added)."""
    openvino = load_openvino()
    from openvino import opset13 as ops

    picture = ops.parameter(input_shape, dtype=np.float32, name="picture")
    picture.output(0).set_names({"picture"})
    nothing = ops.multiply(ops.reduce_mean(picture, np.array([0, 1, 2, 3]), keep_dims=False), np.float32(0))
    results = []
    for name, value in outputs.items():
        node = ops.add(ops.constant(value.astype(np.float32)), nothing)
        node.output(0).set_names({name})
        result = ops.result(node, name=f"{name}/result")
        results.append(result)
    model = openvino.Model(results, [picture], "small")
    for key, text in (rt_info or {}).items():
        model.set_rt_info(text, ["model_info", key])
    return model


class Runner:
    """A compiled model with its adapter: `outputs` runs one picture, `detect` decodes it too."""

    def __init__(self, adapter: Adapter, prepared: PreparedModel) -> None:
        self.adapter = adapter
        self.prepared = prepared
        self._compiled = load_openvino().Core().compile_model(prepared.model, "CPU", {"INFERENCE_NUM_THREADS": 1})
        self._request = self._compiled.create_infer_request()

    def outputs(self, bgr: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """The plain outputs for a frame (H x W x 3, BGR), as copies."""
        picture = bgr if self.prepared.colour == "BGR" else np.ascontiguousarray(bgr[:, :, ::-1])
        self._request.infer({0: fit(picture, self.prepared)})
        return [self._request.get_output_tensor(index).data.copy() for index in range(len(self.prepared.model.outputs))]

    def detect(self, bgr: npt.NDArray[np.uint8], threshold: float = 0.5) -> list[Detection]:
        """What the adapter finds in a frame."""
        height, width = bgr.shape[:2]
        return self.adapter.decode(self.outputs(bgr), place(width, height, self.prepared), threshold)


def runner_of(spec: ModelSpec) -> Runner:
    """The model of `spec` with the adapter that the catalogue or its outputs name."""
    model = load_openvino().Core().read_model(str(spec.path))
    options = AdapterOptions(labels=spec.labels, colour=spec.colour, mean=spec.mean, scale=spec.scale)
    adapter = make_adapter(spec.adapter or guess_family(model), options)
    return Runner(adapter, adapter.prepare(model))
