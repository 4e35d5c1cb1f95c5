"""The interface between the inference flow and the model families.

The flow asks an adapter to `prepare` a model once, feeds it frames (see `preprocessing`) and hands the outputs to
`decode`. Adapters know OpenVINO's graph and numpy; they use no queue, no JPEG and no thread. `decode` keeps no state
between calls and may run in several threads at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from elastic_inference.domain.array_type import NDArray
from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.result import Detection
from elastic_inference.flows.inference.adapters.preprocessing import Letterbox, PreparedModel

# Half precision rounds this far above 1.
SCORE_TOLERANCE = 0.002

Outputs = Mapping[Any, NDArray[Any]] | Sequence[NDArray[Any]]


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

    def scores(self, outputs: Outputs) -> NDArray[Any]:
        """All scores in `outputs`, also those of background. The warm-up checks that they are within 0..1."""
        ...


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
