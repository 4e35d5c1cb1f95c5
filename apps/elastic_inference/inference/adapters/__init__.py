"""Adapters: one file per family of models, behind the port in `base`.

The inference flow calls `adapter_for`, `fit` and `place`. A model whose family is not named anywhere gets an adapter
that looks at the outputs when it prepares the model. OpenVINO is not loaded at import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elastic_inference.catalogue.find import ModelSpec
from elastic_inference.errors import ModelError
from elastic_inference.inference.adapters import blazeface, model_api, ssd, tf_detection, yolox
from elastic_inference.inference.adapters.base import (
    Adapter,
    AdapterOptions,
    Outputs,
    Placement,
    PreparedModel,
    Resize,
    describe,
    fit,
    place,
)
from elastic_inference.result import Detection

__all__ = [
    "FAMILIES",
    "Adapter",
    "AdapterOptions",
    "Placement",
    "PreparedModel",
    "Resize",
    "adapter_for",
    "fit",
    "guess_family",
    "make_adapter",
    "place",
]

FAMILIES: dict[str, Callable[[AdapterOptions], Adapter]] = {
    "ssd": ssd.SsdAdapter,
    "tf-detection": tf_detection.TfDetectionAdapter,
    "blazeface": blazeface.BlazeFaceAdapter,
    "yolox": yolox.YoloxAdapter,
    "model-api": model_api.ModelApiAdapter,
}


def make_adapter(family: str, options: AdapterOptions | None = None) -> Adapter:
    """A new adapter of `family` for one model. Raises ModelError for a family that is not known."""
    try:
        made = FAMILIES[family]
    except KeyError:
        raise ModelError(f"The adapter {family!r} is not known: expected one of {', '.join(FAMILIES)}.") from None
    return made(options or AdapterOptions())


def adapter_for(spec: ModelSpec) -> Adapter:
    """A new adapter for the model of `spec`. Raises ModelError for a family that is not known."""
    options = AdapterOptions(
        labels=spec.labels,
        colour=spec.colour,
        mean=spec.mean,
        scale=spec.scale,
        wrapper=spec.wrapper,
        configuration=spec.configuration,
    )
    return make_adapter(spec.adapter, options) if spec.adapter else GuessingAdapter(options)


class GuessingAdapter:
    """Becomes the adapter that the model's outputs ask for, once it sees the model."""

    def __init__(self, options: AdapterOptions) -> None:
        """`options` are handed on."""
        self.labels = options.labels
        self._options = options
        self._chosen: Adapter | None = None

    def prepare(self, model: Any) -> PreparedModel:
        """See `Adapter.prepare`."""
        self._chosen = make_adapter(guess_family(model), self._options)
        prepared = self._chosen.prepare(model)
        self.labels = self._chosen.labels
        return prepared

    def decode(self, outputs: Outputs, placement: Placement, threshold: float) -> list[Detection]:
        """See `Adapter.decode`."""
        if self._chosen is None:
            raise ModelError("The adapter has not seen its model yet: call prepare first.")
        return self._chosen.decode(outputs, placement, threshold)


def guess_family(model: Any) -> str:
    """The family of an `openvino.Model` by its outputs. Raises ModelError that says what was found."""
    if model_api.is_named(model):
        return "model-api"
    if ssd.fits(model):
        return "ssd"
    if blazeface.fits(model):
        return "blazeface"
    if tf_detection.fits(model):
        return "tf-detection"
    if yolox.fits(model):
        return "yolox"
    if model_api.fits(model):
        return "model-api"
    raise ModelError(
        f"No adapter is known for this model: it has {describe(model)}. Expected one of: ssd ({ssd.EXPECTED}); "
        f"blazeface ({blazeface.EXPECTED}); tf-detection ({tf_detection.EXPECTED}); yolox ({yolox.EXPECTED}); "
        f"model-api ({model_api.EXPECTED}). Or name adapter and labels in a file beside the model (doc/models.md)."
    )
