"""Adapters: one file per family of models, behind the port in `base`.

The inference flow calls `make_adapter`, `fit` and `place`; which family a model of one's own belongs to says
`guess_family`, by its outputs. OpenVINO is not loaded at import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import blazeface, model_api, ssd, tf_detection, yolox
from elastic_inference.flows.inference.adapters.base import (
    Adapter,
    AdapterOptions,
    Placement,
    PreparedModel,
    Resize,
    describe,
    fit,
    place,
)

__all__ = [
    "FAMILIES",
    "Adapter",
    "AdapterOptions",
    "Placement",
    "PreparedModel",
    "Resize",
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
