"""Events as the gateway lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, with_config

from elastic_inference.domain.events.event import Event
from elastic_inference.domain.late import CLOSED


@with_config(CLOSED)
@dataclass(slots=True)
class EventPage:
    """A page of events, the newest first. Each entry is one revision: several may have the same id."""

    events: Annotated[tuple[Event, ...], Field(description="Revisions of events.")]
    next: Annotated[
        str | None,
        Field(description="`cursor` of the next, older page; null at the end. A page may hold fewer than asked for."),
    ]
