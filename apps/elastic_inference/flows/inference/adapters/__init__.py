"""Adapters: one module for each family of models, behind the interface in `adapter`.

The inference flow calls `make_adapter`, and `guess_family` for a user's own model. OpenVINO is not loaded at
import, and a family's module when it is used: a pod with a kept model needs one of them, and no layouts. A new family
needs its module, one line in `FAMILIES` and its test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elastic_inference.adapters.catalogue.export_metadata import ExportMetadata
from elastic_inference.adapters.catalogue.options import AdapterOptions
from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.late import late
from elastic_inference.flows.inference.adapters.adapter import Adapter, check_scores, describe
from elastic_inference.flows.inference.adapters.preprocessing import (
    Letterbox,
    PreparedModel,
    Resize,
    letterbox_of,
    preprocess,
)

if TYPE_CHECKING:
    from elastic_inference.flows.inference.adapters import graph, layouts, model_api
else:
    graph, layouts, model_api = late(f"{__name__}.graph"), late(f"{__name__}.layouts"), late(f"{__name__}.model_api")

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


class Family:
    """A module of this package, loaded when it is used, with an adapter's class.

    `EXPECTED` in the module describes what `matches` looks for.
    """

    def __init__(self, module: str, adapter: str, layout: str | None = None) -> None:
        """A family whose models are recognised by their row of `layouts` has that row's `layout`."""
        self._module, self._adapter, self._layout = late(f"{__name__}.{module}"), adapter, layout

    def make(self, options: AdapterOptions) -> Adapter:
        """A new adapter."""
        adapter: Adapter = getattr(self._module, self._adapter)(options)
        return adapter

    def matches(self, model: Any) -> bool:
        """Whether the outputs of an `openvino.Model` are those of this family."""
        if self._layout is None:
            return bool(self._module.matches(model))
        found = layouts.find_layout(layouts.facts_of(model, ExportMetadata()))
        return found is not None and found.family == self._layout

    @property
    def expected(self) -> str:
        """What a model of this family looks like."""
        return str(self._module.EXPECTED)


# In the order in which `guess_family` tries them.
FAMILIES = {
    "ssd": Family("ssd", "SsdAdapter"),
    "blazeface": Family("blazeface", "BlazeFaceAdapter"),
    "tf-detection": Family("tf_detection", "TfDetectionAdapter"),
    "yolox": Family("yolox", "YoloxAdapter"),
    "yolo": Family("yolo", "YoloAdapter", "yolo"),
    "detr": Family("detr", "DetrAdapter", "detr"),
    "box-lists": Family("box_lists", "BoxListsAdapter", "box-lists"),
    "nanodet": Family("nanodet", "NanodetAdapter", "nanodet"),
    "model-api": Family("model_api", "ModelApiAdapter"),
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
    graph.settle(model, options)
    wrapper = model_api.wrapper_name(model, options)
    # A model that names its wrapper also names its preprocessing, whatever its outputs look like.
    if wrapper and not wrapper.upper().startswith("YOLO"):
        return "model-api"
    export = layouts.export_of(model, options.export)
    facts = layouts.facts_of(model, export, options.labels)
    layout = layouts.find_layout(facts, options.layout)
    graph.refuse_other_tasks(model, export.task, layout)
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
