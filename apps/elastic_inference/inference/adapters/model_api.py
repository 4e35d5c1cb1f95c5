"""Models that the package openvino-model-api knows: further YOLOs, classification, segmentation and others."""

from __future__ import annotations

from typing import Any

from elastic_inference.errors import ModelError
from elastic_inference.inference.adapters.base import AdapterOptions, Outputs, Placement, PreparedModel
from elastic_inference.result import Detection


def fits(model: Any) -> bool:
    """Whether the model says which wrapper of Model API reads it."""
    return bool(model.has_rt_info(["model_info", "model_type"]))


class ModelApiAdapter:
    """Hands the outputs to a wrapper of Model API."""

    def __init__(self, options: AdapterOptions) -> None:
        self.labels = options.labels

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        raise ModelError("The adapter 'model-api' is not there yet.")

    def decode(self, outputs: Outputs, placement: Placement, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        raise NotImplementedError
