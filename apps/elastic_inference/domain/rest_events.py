"""The server-sent events of the gateway's API: the one source of their documents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from elastic_inference.domain.camera_documents import Cameras
from elastic_inference.domain.events.page import EventPage
from elastic_inference.domain.pool import Stats, Streams
from elastic_inference.domain.rest import HelloEvent, ProblemEvent, TimeEvent

StreamsEvent = Annotated[
    Streams,
    Field(description="Event `streams`: all streams, sent at the start and after changes, at most twice a second."),
]
StatsEvent = Annotated[
    Stats,
    Field(description="Event `stats`: the pool, sent like `streams`. A change of times alone sends nothing."),
]
CamerasEvent = Annotated[
    Cameras,
    Field(
        description="Event `cameras`, to admins: the cameras of the pool, sent like `streams`. A change of cost and "
        "times alone sends nothing."
    ),
]
LogEvent = Annotated[
    EventPage,
    Field(
        description="Event `log`: the newest 50 of the events that this token sees, sent at the start and when there "
        "are new ones, at most twice a second. Tell repeats by `id` and `rev`; /api/events/log has all."
    ),
]

# The events of /api/events by their name.
EVENTS = {
    "hello": HelloEvent,
    "time": TimeEvent,
    "streams": StreamsEvent,
    "stats": StatsEvent,
    "cameras": CamerasEvent,
    "log": LogEvent,
    "problem": ProblemEvent,
}
