"""Which model the pods of a type should run, which one they try beside it, and what they say about it.

A *wish* is what the API asks of all pods of a type. The gateway writes it, the pods read it; a pod that finds that a
wished model fails says so, and the wish then counts as failed for all pods. These classes are the one source of the
fields: Redis' records, REST documents and the dashboard's types are made from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError, with_config

from elastic_inference.domain.fields import CLOSED, Count, Name, Rate

MAX_WISH_BYTES = 4096
MAX_MESSAGE = 300
DEFAULT_TIME_FACTOR = 3.0
DEFAULT_SHARE = 0.1

WishId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="Names this request.")]
Message = Annotated[str, Field(max_length=MAX_MESSAGE, description="The reason as a sentence.")]
ModelName = Annotated[
    Name,
    Field(description="As in INFER_MODEL_NAME: a model in the pods' models folder, such as yolox-nano_FP32."),
]
_TimeFactor = Annotated[
    float,
    Field(
        strict=True,
        gt=0,
        le=100,
        description="The model fails if a frame takes more than this many times the CPU time of the running model.",
    ),
]
_MinAgreement = Annotated[
    float, Field(strict=True, ge=0, le=1, description="The model fails if its agreement with the running one is lower.")
]
Share = Annotated[float, Field(strict=True, gt=0, le=1, description="Which share of the frames the canary infers too.")]


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

    max_time_factor: _TimeFactor = DEFAULT_TIME_FACTOR
    min_agreement: _MinAgreement = 0.0


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice(TrialLimits):
    """A model that all pods of a type should run."""

    model: ModelName


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryChoice(ModelChoice):
    """A model that all pods of a type should try beside the running one."""

    share: Share = DEFAULT_SHARE


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWish:
    """What is asked of all pods of a type. Without `choice`, they run the model of their settings."""

    id: WishId
    choice: ModelChoice | None = None
    former: Annotated[
        ModelName | None, Field(description="What the pods go back to on failure; null is the model of their settings.")
    ] = None
    canary_id: WishId | None = None
    canary: CanaryChoice | None = None


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A wished model failed in a pod, so no pod runs or tries it."""

    id: WishId
    reason: ModelFailure
    message: Message
    pod: Annotated[str, Field(max_length=200, description="The pod that saw it.")]


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The canary beside the running model, over the newest sampled frames of one pod."""

    frames: Annotated[Count, Field(description="Frames that both have inferred since the canary began.")]
    agreement: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Twice the detections that both have, over all detections of both; null while there are none. "
            "Both have a detection if label and box agree (IoU of at least 0.5).",
        ),
    ] = None
    confidence: Annotated[Rate | None, Field(description="Mean confidence of the running model's detections.")] = None
    canary_confidence: Annotated[Rate | None, Field(description="Mean confidence of the canary's detections.")] = None
    frame_s: Annotated[Rate | None, Field(description="CPU seconds of the running model for a frame.")] = None
    canary_frame_s: Annotated[Rate | None, Field(description="CPU seconds of the canary for a frame.")] = None


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class PodModel:
    """What one pod does about the wish, as it reports every second."""

    wish: WishId | None = None
    stage: ModelStage = ModelStage.RUNS
    canary: ModelName | None = None
    figures: Figures | None = None


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class PodModelView:
    """One pod and its model."""

    pod: Annotated[str, Field(description="The pod's name.")]
    model: Annotated[str, Field(description="The model that it runs.")]
    precision: Annotated[str, Field(description="The precision in which it runs.")]
    stage: Annotated[ModelStage | None, Field(description="null if the pod does not report it (older pods).")]
    canary: Annotated[str | None, Field(description="The model that it tries.")] = None
    figures: Annotated[Figures | None, Field(description="What it found of the canary.")] = None


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class TypeModel:
    """The model of an inference type: what was asked for, what came of it, and what each pod runs."""

    type: Annotated[Name, Field(description="The inference type.")]
    choice: Annotated[ModelChoice | None, Field(description="null: the model of the pods' settings.")] = None
    failure: Annotated[Failure | None, Field(description="Why the pods went back; null if they did not.")] = None
    canary: Annotated[CanaryChoice | None, Field(description="The canary; null without one.")] = None
    canary_failure: Annotated[Failure | None, Field(description="Why the canary ended; null if it did not.")] = None
    pods: Annotated[tuple[PodModelView, ...], Field(description="Sorted by name.")] = ()


_WISH = TypeAdapter(ModelWish)
_FAILURE = TypeAdapter(Failure)
_POD = TypeAdapter(PodModel)


def read_wish(raw: object) -> ModelWish | None:
    """The wish in Redis' answer; None if there is none, or if it cannot be read."""
    if not isinstance(raw, bytes) or len(raw) > MAX_WISH_BYTES:
        return None
    try:
        return _WISH.validate_json(raw)
    except ValidationError:
        return None


def read_failure(raw: object) -> Failure | None:
    """The failure in Redis' answer; None if there is none, or if it cannot be read."""
    if not isinstance(raw, bytes) or len(raw) > MAX_WISH_BYTES:
        return None
    try:
        return _FAILURE.validate_json(raw)
    except ValidationError:
        return None


def read_pod_model(raw: object) -> PodModel | None:
    """What a pod reports; None if it does not, or if it cannot be read."""
    if not isinstance(raw, bytes) or len(raw) > MAX_WISH_BYTES:
        return None
    try:
        return _POD.validate_json(raw)
    except ValidationError:
        return None


def record_json(record: ModelWish | Failure | PodModel) -> bytes:
    """A record as compact JSON, for the readers above."""
    adapters: dict[type, TypeAdapter[object]] = {ModelWish: _WISH, Failure: _FAILURE, PodModel: _POD}  # type: ignore[dict-item]
    return adapters[type(record)].dump_json(record)
