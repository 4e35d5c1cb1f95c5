"""Adapters: one module for each family of models, behind the interface in `base`.

The inference flow calls `make_adapter`, and `guess_family` for a model of the user's own. OpenVINO is not loaded at
import. A new family needs its module, one line in `FAMILIES` and its test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import blazeface, model_api, ssd, tf_detection, yolox
from elastic_inference.flows.inference.adapters.base import Adapter, AdapterOptions, describe, options_of
from elastic_inference.flows.inference.adapters.preprocessing import (
    Letterbox,
    PreparedModel,
    Resize,
    letterbox_of,
    preprocess,
)

__all__ = [
    "FAMILIES",
    "Adapter",
    "AdapterOptions",
    "Letterbox",
    "PreparedModel",
    "Resize",
    "guess_family",
    "letterbox_of",
    "make_adapter",
    "options_of",
    "preprocess",
]


@dataclass(frozen=True, slots=True)
class Family:
    """`matches` looks at the outputs of an `openvino.Model`; `expected` describes what it looks for."""

    make: Callable[[AdapterOptions], Adapter]
    matches: Callable[[Any], bool]
    expected: str


# In the order in which `guess_family` tries them.
FAMILIES = {
    "ssd": Family(ssd.SsdAdapter, ssd.matches, ssd.EXPECTED),
    "blazeface": Family(blazeface.BlazeFaceAdapter, blazeface.matches, blazeface.EXPECTED),
    "tf-detection": Family(tf_detection.TfDetectionAdapter, tf_detection.matches, tf_detection.EXPECTED),
    "yolox": Family(yolox.YoloxAdapter, yolox.matches, yolox.EXPECTED),
    "model-api": Family(model_api.ModelApiAdapter, model_api.matches, model_api.EXPECTED),
}


def make_adapter(name: str, options: AdapterOptions | None = None) -> Adapter:
    """A new adapter of the family `name` for one model. Raises ModelError for an unknown family."""
    try:
        family = FAMILIES[name]
    except KeyError:
        raise ModelError(f"The adapter {name!r} is not known: expected one of {', '.join(FAMILIES)}.") from None
    return family.make(options or AdapterOptions())


def guess_family(model: Any) -> str:
    """The family that matches an `openvino.Model`. Raises ModelError that says what was found."""
    # A model that names its wrapper also names its preprocessing, whatever its outputs look like.
    if model_api.is_named(model):
        return "model-api"
    for name, family in FAMILIES.items():
        if family.matches(model):
            return name
    expected = "; ".join(f"{name} ({family.expected})" for name, family in FAMILIES.items())
    raise ModelError(
        f"No adapter is known for this model: it has {describe(model)}. Expected one of: {expected}. "
        "Or name adapter and labels in a file beside the model (doc/models.md)."
    )
