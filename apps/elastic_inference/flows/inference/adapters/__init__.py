"""Adapters: one module for each family of models, behind the interface in `adapter`.

The inference flow calls `make_adapter`, and `guess_family` for a user's own model. OpenVINO is not loaded at
import. A new family needs its module, one line in `FAMILIES` and its test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from elastic_inference.adapters.catalogue.export_metadata import ExportMetadata
from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import (
    blazeface,
    box_lists,
    detr,
    model_api,
    nanodet,
    ssd,
    tf_detection,
    yolo,
    yolox,
)
from elastic_inference.flows.inference.adapters.adapter import Adapter, check_scores, describe
from elastic_inference.flows.inference.adapters.graph import refuse_other_tasks, settle
from elastic_inference.flows.inference.adapters.layouts import export_of, facts_of, find_layout
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
    "adapt",
    "check_scores",
    "guess_family",
    "letterbox_of",
    "make_adapter",
    "preprocess",
]


@dataclass(frozen=True, slots=True)
class Family:
    """`matches` looks at the outputs of an `openvino.Model`; `expected` describes what it looks for."""

    make: Callable[[AdapterOptions], Adapter]
    matches: Callable[[Any], bool]
    expected: str


def _has_layout(family: str) -> Callable[[Any], bool]:
    def matches(model: Any) -> bool:
        layout = find_layout(facts_of(model, ExportMetadata()))
        return layout is not None and layout.family == family

    return matches


# In the order in which `guess_family` tries them.
FAMILIES = {
    "ssd": Family(ssd.SsdAdapter, ssd.matches, ssd.EXPECTED),
    "blazeface": Family(blazeface.BlazeFaceAdapter, blazeface.matches, blazeface.EXPECTED),
    "tf-detection": Family(tf_detection.TfDetectionAdapter, tf_detection.matches, tf_detection.EXPECTED),
    "yolox": Family(yolox.YoloxAdapter, yolox.matches, yolox.EXPECTED),
    "yolo": Family(yolo.YoloAdapter, _has_layout("yolo"), yolo.EXPECTED),
    "detr": Family(detr.DetrAdapter, _has_layout("detr"), detr.EXPECTED),
    "box-lists": Family(box_lists.BoxListsAdapter, _has_layout("box-lists"), box_lists.EXPECTED),
    "nanodet": Family(nanodet.NanodetAdapter, _has_layout("nanodet"), nanodet.EXPECTED),
    "model-api": Family(model_api.ModelApiAdapter, model_api.matches, model_api.EXPECTED),
}


def make_adapter(name: str, options: AdapterOptions | None = None) -> Adapter:
    """A new adapter of the family `name` for one model. Raises ModelError for an unknown family."""
    try:
        family = FAMILIES[name]
    except KeyError:
        raise ModelError(f"The adapter {name!r} is unknown: expected one of {', '.join(FAMILIES)}.") from None
    return family.make(options or AdapterOptions())


def adapt(model: Any, family: str | None, options: AdapterOptions) -> tuple[Adapter, PreparedModel]:
    """The adapter of an `openvino.Model`, and the model as prepared by it. Raises ModelError if none fits."""
    adapter = make_adapter(family or guess_family(model, options), options)
    return adapter, adapter.prepare(model)


def guess_family(model: Any, options: AdapterOptions | None = None) -> str:
    """The family that matches an `openvino.Model`. Raises ModelError that says what was found."""
    options = options or AdapterOptions()
    settle(model, options)
    wrapper = model_api.wrapper_name(model, options)
    # A model that names its wrapper also names its preprocessing, whatever its outputs look like.
    if wrapper and not wrapper.upper().startswith("YOLO"):
        return "model-api"
    export = export_of(model, options.export)
    facts = facts_of(model, export, options.labels)
    layout = find_layout(facts, options.layout)
    refuse_other_tasks(model, export.task, layout)
    if layout is not None:
        return layout.family
    for name, family in FAMILIES.items():
        if not export.family and family.matches(model):
            return name
    if (at := facts.named("logits", "pred_boxes")) is not None:
        raise ModelError(
            f"The model has DETR's outputs with {facts.shape(at['logits'])[-1]} classes, which fits "
            f"neither COCO nor its {facts.labels} labels. Give labels in a side file that fit, or the layout: `detr` "
            "(softmax, the last class is no object) or `detr-sigmoid` (doc/models.md)."
        )
    origin = f", an export of LibreYOLO's family {export.family!r}" if export.family else ""
    expected = "; ".join(f"{name} ({family.expected})" for name, family in FAMILIES.items())
    raise ModelError(
        f"No adapter is known for this model{origin}: it has {describe(model)}. Expected one of: {expected}. "
        "Or name adapter and labels in a side file (doc/models.md)."
    )
