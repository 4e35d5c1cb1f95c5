"""The interface between the inference flow and the model families.

The flow asks an adapter to `prepare` a model once, feeds it frames (see `preprocessing`) and hands the outputs to
`decode`. Adapters know OpenVINO's graph and numpy; they use no queue, no JPEG and no thread. `decode` keeps no state
between calls and may run in several threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from elastic_inference.adapters.catalogue import ModelSpec
from elastic_inference.adapters.catalogue.export_metadata import NO_METADATA, ExportMetadata
from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel

# Half precision rounds this far above 1.
SCORE_TOLERANCE = 0.002

Outputs = Mapping[Any, npt.NDArray[Any]] | Sequence[npt.NDArray[Any]]


class Adapter(Protocol):
    """One family of models. One instance serves one model."""

    labels: tuple[str, ...]

    def prepare(self, model: Any) -> PreparedModel:
        """Checks an `openvino.Model` and builds its preprocessing in. Call it once, before any `decode`.

        Raises ModelError that says what was found and what was expected.
        """
        ...

    def decode(self, outputs: Outputs, letterbox: Letterbox, threshold: float) -> list[Detection]:
        """Detections with a confidence of at least `threshold`, highest first, boxes clipped to 0..1 of the frame.

        `outputs[i]` is the model's output i, in the order of `PreparedModel.model.outputs`: `outputs` is a list, or a
        dict with integer keys. Values that are not finite are skipped.
        """
        ...

    def scores(self, outputs: Outputs) -> npt.NDArray[Any]:
        """All scores in `outputs`, also those of background. The warm-up checks that they are within 0..1."""
        ...


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """What the catalogue or a side file says about a model.

    `labels` are indexed by the model's class number ('' if a number is not used). `colour`, `mean` and `scale`
    override the family's own values; None keeps them. The input is (value - mean) / scale, with one or three numbers
    in 0..255. `size` (width, height) is for inputs of no fixed size, `layout` names a row of `layouts`, `overlap` is
    the limit of the suppression. `export` is the exporter's metadata. `wrapper` and `configuration`
    are for the `model-api` family only.
    """

    labels: tuple[str, ...] = ()
    colour: str | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    layout: str | None = None
    overlap: float | None = None
    export: ExportMetadata = NO_METADATA
    wrapper: str | None = None
    configuration: Mapping[str, Any] | None = None


def options_of(spec: ModelSpec) -> AdapterOptions:
    """The options that the catalogue or a side file gives a model."""
    return AdapterOptions(
        labels=spec.labels,
        colour=spec.colour,
        mean=spec.mean,
        scale=spec.scale,
        size=spec.size,
        layout=spec.layout,
        overlap=spec.overlap,
        export=spec.export,
        wrapper=spec.wrapper,
        configuration=spec.configuration,
    )


def check_scores(adapter: Adapter, outputs: Outputs) -> None:
    """Raises ModelError if a score lies outside 0..1: then the outputs do not mean what the adapter reads."""
    scores = np.asarray(adapter.scores(outputs), np.float32)
    scores = scores[np.isfinite(scores)]
    if scores.size and not (scores.min() >= -SCORE_TOLERANCE and scores.max() <= 1 + SCORE_TOLERANCE):
        raise ModelError(
            f"The scores that the adapter reads run from {scores.min():.4g} to {scores.max():.4g}: expected 0 to 1. "
            "The outputs mean something else (another task, or logits); see doc/models.md."
        )


def describe(model: Any) -> str:
    """A model's inputs and outputs in one line, for errors."""
    inputs = ", ".join(_shape(port) for port in model.inputs)
    outputs = ", ".join(_shape(port) for port in model.outputs)
    return f"input {inputs}; output {outputs}"


def mismatch(family: str, model: Any, expected: str) -> ModelError:
    """The error for a model that its adapter cannot serve."""
    return ModelError(
        f"The model does not match the adapter '{family}': it has {describe(model)}; expected {expected}."
    )


def _shape(port: Any) -> str:
    names = sorted(port.get_names())
    return f"{names[0] if names else '(unnamed)'} {str(port.partial_shape).replace(',', 'x')}"
