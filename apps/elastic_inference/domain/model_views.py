"""What the API says about the models of a type: the wish, what came of it, and what each pod runs.

Made by the gateway; the dashboard and `ei-models` read it. Pods do not load it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from elastic_inference.domain.late import CLOSED, late, with_config
from elastic_inference.domain.model_wish import CanaryChoice, Failure, Figures, ModelChoice, ModelStage

if TYPE_CHECKING:
    import pydantic

    from elastic_inference.domain import fields
else:
    pydantic, fields = late("pydantic"), late("elastic_inference.domain.fields")


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class PodModelView:
    """One pod and its model."""

    pod: Annotated[str, pydantic.Field(description="The pod's name.")]
    model: Annotated[str, pydantic.Field(description="The model that it runs.")]
    precision: Annotated[str, pydantic.Field(description="The precision in which it runs.")]
    stage: Annotated[ModelStage | None, pydantic.Field(description="null if the pod does not report it (older pods).")]
    canary: Annotated[str | None, pydantic.Field(description="The model that it tries.")] = None
    figures: Annotated[Figures | None, pydantic.Field(description="What it found of the canary.")] = None


@with_config(CLOSED)
@dataclass(frozen=True, slots=True, kw_only=True)
class TypeModel:
    """The model of an inference type: what was asked for, what came of it, and what each pod runs."""

    type: Annotated[fields.Name, pydantic.Field(description="The inference type.")]
    choice: Annotated[ModelChoice | None, pydantic.Field(description="null: the model of the pods' settings.")] = None
    failure: Annotated[Failure | None, pydantic.Field(description="Why the pods went back; null if they did not.")] = (
        None
    )
    canary: Annotated[CanaryChoice | None, pydantic.Field(description="The canary; null without one.")] = None
    canary_failure: Annotated[
        Failure | None, pydantic.Field(description="Why the canary ended; null if it did not.")
    ] = None
    pods: Annotated[tuple[PodModelView, ...], pydantic.Field(description="Sorted by name.")] = ()
