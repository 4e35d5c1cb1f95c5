"""The sinks as the gateway's REST documents show them; the only definition of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue, with_config

from elastic_inference.domain.fields import Count
from elastic_inference.domain.late import CLOSED
from elastic_inference.domain.sink_spec import SinkSpec


class SinkCondition(StrEnum):
    """How delivery to a sink goes."""

    STARTING = "starting"
    DELIVERING = "delivering"
    FAILING = "failing"
    PAUSED = "paused"
    DISABLED = "disabled"
    UNASSIGNED = "unassigned"


class SinkOrigin(StrEnum):
    """Where a sink is configured: in SINKS_FILE, which REST can't change, or by REST."""

    FILE = "file"
    REST = "rest"


@with_config(CLOSED)
@dataclass(slots=True)
class SinkState:
    """The state of a sink, as its event worker reports it."""

    condition: SinkCondition
    reason: Annotated[str | None, Field(description="Why it fails or is paused, as a sentence.")] = None
    worker: Annotated[str | None, Field(description="The event worker that delivers to it.")] = None
    lag_s: Annotated[float, Field(ge=0, description="Age of the oldest event that it has not confirmed, seconds.")] = 0
    delivered: Annotated[Count, Field(description="Events that it confirmed since this worker has it.")] = 0
    retried: Annotated[Count, Field(description="Attempts that failed and were made again.")] = 0
    dead: Annotated[Count, Field(description="Events that it refused for good.")] = 0


@with_config(CLOSED)
@dataclass(slots=True)
class SinkView:
    """A sink with its state."""

    spec: Annotated[SinkSpec, Field(description="It holds no secret, only names of files.")]
    origin: SinkOrigin
    state: SinkState
    dead_letters: Annotated[Count, Field(description="How many events wait that it refused for good.")]
    revision: Annotated[str, Field(description="Changes with the specification; `If-Match` takes it.")]


@with_config(CLOSED)
@dataclass(slots=True)
class Sinks:
    """All sinks."""

    sinks: Annotated[tuple[SinkView, ...], Field(description="Sorted by name.")]
    problem: Annotated[str | None, Field(description="What is wrong with SINKS_FILE, or that no event worker runs.")]


@with_config(CLOSED)
@dataclass(slots=True)
class SinkTest:
    """The outcome of a test event."""

    delivered: Annotated[bool, Field(description="Whether the sink has confirmed it.")]
    message: Annotated[str, Field(description="What happened, as a sentence.")]


@with_config(CLOSED)
@dataclass(slots=True)
class DeadLetter:
    """An event that a sink refused for good."""

    id: Annotated[str, Field(description="Its position in the list.")]
    at_ms: Annotated[float, Field(description="When it was refused, Unix milliseconds.")]
    reason: Annotated[str, Field(description="Why the sink refused it.")]
    event: Annotated[JsonValue, Field(description="The event; a text if it is not valid JSON.")]


@with_config(CLOSED)
@dataclass(slots=True)
class DeadLetters:
    """The oldest dead letters of a sink."""

    count: Annotated[Count, Field(description="How many there are; at most 1000 are kept.")]
    dead_letters: Annotated[tuple[DeadLetter, ...], Field(description="At most 100, the oldest first.")]


@with_config(CLOSED)
@dataclass(slots=True)
class Resent:
    """The outcome of sending dead letters again."""

    sent: Annotated[Count, Field(description="Delivered, out of order and marked as `resent`, and removed from here.")]
    message: Annotated[str, Field(description="What happened, as a sentence.")]


@with_config(CLOSED)
@dataclass(slots=True)
class DeadRemoved:
    """The outcome of deleting dead letters."""

    removed: Annotated[Count, Field(description="How many were deleted; those that were gone already do not count.")]
