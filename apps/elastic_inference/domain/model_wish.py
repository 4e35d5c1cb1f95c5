"""Which model the pods of a type should run, which one they try beside it, and what they say about it.

A *wish* is what the API asks of all pods of a type. The gateway writes it, the pods read it; a pod that finds that a
wished model fails says so, and the wish then counts as failed for all pods. These classes are the one source of the
fields: Redis' records, REST documents and the dashboard's types are made from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from elastic_inference.domain.late import CLOSED, late, with_config

if TYPE_CHECKING:
    import pydantic

    from elastic_inference.domain import fields, model_fields
else:
    pydantic, fields = late("pydantic"), late("elastic_inference.domain.fields")
    model_fields = late("elastic_inference.domain.model_fields")

MAX_WISH_BYTES = 4096
MAX_MESSAGE = 300
DEFAULT_TIME_FACTOR = 3.0
DEFAULT_SHARE = 0.1
R = TypeVar("R")


class ModelFailure(StrEnum):
    """Why a model was not taken, or is no longer tried: label `reason` of `ei_model_failures_total`."""

    MISSING = "missing"
    MEMORY = "memory"
    LOAD = "load"
    SCORES = "scores"
    FRAMES = "frames"
    NOTHING_FOUND = "nothing_found"
    DISAGREES = "disagrees"
    SLOW = "slow"


class ModelStage(StrEnum):
    """What a pod does about the wished model."""

    RUNS = "runs"
    LOADING = "loading"
    COMPARING = "comparing"
    PROBATION = "probation"
    FAILED = "failed"


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLimits:
    """When a model counts as failed in the comparison with the running one."""

    max_time_factor: model_fields.TimeFactor = DEFAULT_TIME_FACTOR
    min_agreement: model_fields.MinAgreement = 0.0


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice(TrialLimits):
    """A model that all pods of a type should run."""

    model: model_fields.ModelName


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryChoice(ModelChoice):
    """A model that all pods of a type should try beside the running one."""

    share: model_fields.Share = DEFAULT_SHARE


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWish:
    """What is asked of all pods of a type. Without `choice`, they run the model of their settings."""

    id: model_fields.WishId
    choice: ModelChoice | None = None
    former: Annotated[
        model_fields.ModelName | None,
        pydantic.Field(description="What the pods go back to on failure; null is the model of their settings."),
    ] = None
    canary_id: model_fields.WishId | None = None
    canary: CanaryChoice | None = None


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A wished model failed in a pod, so no pod runs or tries it."""

    id: model_fields.WishId
    reason: ModelFailure
    message: model_fields.Message
    pod: Annotated[str, pydantic.Field(max_length=200, description="The pod that saw it.")]


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The canary beside the running model, over the newest sampled frames of one pod."""

    frames: Annotated[
        fields.Count, pydantic.Field(description="Frames that both have inferred since the canary began.")
    ]
    agreement: Annotated[
        float | None,
        pydantic.Field(
            ge=0,
            le=1,
            description="Twice the detections that both have, over all detections of both; null while there are none. "
            "Both have a detection if label and box agree (IoU of at least 0.5).",
        ),
    ] = None
    confidence: Annotated[
        fields.Rate | None, pydantic.Field(description="Mean confidence of the running model's detections.")
    ] = None
    canary_confidence: Annotated[
        fields.Rate | None, pydantic.Field(description="Mean confidence of the canary's detections.")
    ] = None
    frame_s: Annotated[
        fields.Rate | None, pydantic.Field(description="CPU seconds of the running model for a frame.")
    ] = None
    canary_frame_s: Annotated[
        fields.Rate | None, pydantic.Field(description="CPU seconds of the canary for a frame.")
    ] = None


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class PodModel:
    """What one pod does about the wish, as it reports every second."""

    wish: model_fields.WishId | None = None
    stage: ModelStage = ModelStage.RUNS
    canary: model_fields.ModelName | None = None
    figures: Figures | None = None


def read_wish(raw: object) -> ModelWish | None:
    """The wish in Redis' answer; None if there is none, or if it cannot be read."""
    return _read(raw, ModelWish)


def read_failure(raw: object) -> Failure | None:
    """The failure in Redis' answer; None if there is none, or if it cannot be read."""
    return _read(raw, Failure)


def read_pod_model(raw: object) -> PodModel | None:
    """What a pod reports; None if it does not, or if it cannot be read."""
    return _read(raw, PodModel)


def record_json(record: ModelWish | Failure | PodModel) -> bytes:
    """A record as compact JSON, for the readers above."""
    return _adapter(type(record)).dump_json(record)  # type: ignore[arg-type]


def _read(raw: object, kind: type[R]) -> R | None:
    if not isinstance(raw, bytes) or len(raw) > MAX_WISH_BYTES:
        return None
    try:
        found: R = _adapter(kind).validate_json(raw)  # type: ignore[arg-type]
    except pydantic.ValidationError:
        return None
    return found


@cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)
