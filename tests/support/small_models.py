"""Small OpenVINO models made for a test, a way to run them as the inference service does, and overlap of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from elastic_inference.adapters.catalogue.find import ModelSpec
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters import (
    Adapter,
    PreparedModel,
    adapt,
    letterbox_of,
    preprocess,
)
from elastic_inference.flows.inference.runtime import load_openvino


def constant_model(
    input_shape: list[int], outputs: Mapping[str, npt.NDArray[Any]], rt_info: Mapping[str, str] | None = None
) -> Any:
    """A model with one image input and constant outputs (to which 0 * mean of the image is added)."""
    openvino = load_openvino()
    from openvino import opset13 as ops

    image = ops.parameter(input_shape, dtype=np.float32, name="image")
    image.output(0).set_names({"image"})
    nothing = ops.multiply(ops.reduce_mean(image, np.array([0, 1, 2, 3]), keep_dims=False), np.float32(0))
    results = []
    for name, value in outputs.items():
        node = ops.add(ops.constant(value.astype(np.float32)), nothing)
        node.output(0).set_names({name})
        result = ops.result(node, name=f"{name}/result")
        results.append(result)
    model = openvino.Model(results, [image], "small")
    for key, text in (rt_info or {}).items():
        model.set_rt_info(text, ["model_info", key])
    return model


class Runner:
    """A compiled model with its adapter: `outputs` runs it on one image, `detect` also decodes the outputs."""

    def __init__(self, adapter: Adapter, prepared: PreparedModel) -> None:
        self.adapter = adapter
        self.prepared = prepared
        config = {
            "INFERENCE_NUM_THREADS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
        }  # as a pod does; else bf16 where it can
        self._compiled = load_openvino().Core().compile_model(prepared.model, "CPU", config)
        self._request = self._compiled.create_infer_request()

    def outputs(self, bgr: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """The raw outputs for a frame (H x W x 3, BGR), as copies."""
        image = bgr if self.prepared.colour == "BGR" else np.ascontiguousarray(bgr[:, :, ::-1])
        self._request.infer({0: preprocess(image, self.prepared)})
        return [self._request.get_output_tensor(index).data.copy() for index in range(len(self.prepared.model.outputs))]

    def detect(self, bgr: npt.NDArray[np.uint8], threshold: float = 0.5) -> list[Detection]:
        """The detections of the adapter in a frame."""
        return self.decode(self.outputs(bgr), bgr, threshold)

    def decode(
        self, outputs: list[npt.NDArray[Any]], bgr: npt.NDArray[np.uint8], threshold: float = 0.5
    ) -> list[Detection]:
        """The detections of the adapter in the outputs for a frame."""
        height, width = bgr.shape[:2]
        return self.adapter.decode(outputs, letterbox_of(width, height, self.prepared), threshold)


def runner_of(spec: ModelSpec) -> Runner:
    """The model of `spec` with the adapter named by the catalogue or recognised by its outputs."""
    model = load_openvino().Core().read_model(str(spec.path))
    return Runner(*adapt(model, spec.adapter, spec.options))


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (xyxy), in plain arithmetic."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared)
