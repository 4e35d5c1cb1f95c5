"""The REST routes: for each path its handler and its description.

`application` serves them, `openapi` describes them. To add an endpoint, write a handler in `api`, a model in
`domain.rest` and an entry here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.domain.pool import Stats, Stream, Streams
from elastic_inference.domain.rest import EVENTS, Login, Session
from elastic_inference.flows.gateway import api
from elastic_inference.flows.gateway.handlers import BaseHandler

NO_STREAM = "No such stream."
REDIS_UNAVAILABLE = "Redis is unavailable and no data has been read yet."
OTHER_SITE = "The request comes from a page of another site, or is for a host name that is refused."


@dataclass(frozen=True, slots=True)
class MediaType:
    """The media type and schema of a response body that is not one of our JSON models."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One path with one method. `returns` and `accepts` are models or media types; `errors` maps status to description.

    `openapi` adds those of every request (400 and 403), and of the login check (401 and 429) where a login is needed.
    """

    path: str
    handler: type[BaseHandler]
    operation: str
    summary: str
    success: str
    returns: Any
    method: str = "get"
    accepts: Any = None
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def pattern(self) -> str:
        """The path as a regular expression for Tornado; each `{parameter}` becomes an argument of the handler."""
        return re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(self.path))


def _streams(path: str, operation: str) -> Route:
    return Route(
        path,
        api.StreamsHandler,
        operation,
        "All streams, including those that are pushed but not inferred.",
        "The streams.",
        Streams,
        errors={503: REDIS_UNAVAILABLE},
    )


ROUTES = (
    _streams("/api/streams", "listStreams"),
    _streams("/api/stream", "listStreamsFormerPath"),
    Route(
        "/api/streams/{id}",
        api.StreamHandler,
        "getStream",
        "One stream.",
        "The stream.",
        Stream,
        errors={404: NO_STREAM, 503: REDIS_UNAVAILABLE},
    ),
    Route(
        "/api/streams/{id}/snapshot.jpg",
        api.SnapshotHandler,
        "getSnapshot",
        "The newest frame with its boxes drawn.",
        "A JPEG.",
        MediaType("image/jpeg", {"type": "string", "contentMediaType": "image/jpeg"}),
        errors={
            404: NO_STREAM,
            429: "Too many snapshots at once, or too many wrong tokens from this address.",
            503: "Redis or the websocket server is unavailable.",
            504: "No frame arrived in time.",
        },
    ),
    Route(
        "/api/stats",
        api.StatsHandler,
        "getStats",
        "Rates, queue lengths and pods by type.",
        "The pool.",
        Stats,
        errors={503: REDIS_UNAVAILABLE},
    ),
    Route(
        "/api/events",
        api.EventsHandler,
        "events",
        f"Server-sent events: {', '.join(EVENTS)}. The data of each is JSON of the schema "
        f"{', '.join(f'{kind.capitalize()}Event' for kind in EVENTS)}.",
        "An event stream.",
        MediaType("text/event-stream", {"type": "string"}),
        errors={429: "Too many event streams, or too many wrong tokens from this address."},
    ),
    Route(
        "/api/session",
        api.SessionHandler,
        "getSession",
        "Whether a login is needed, and whether this request has one.",
        "The session.",
        Session,
    ),
    Route(
        "/api/login",
        api.LoginHandler,
        "login",
        "Trades the token for an HttpOnly cookie.",
        "Logged in; Set-Cookie carries the session.",
        Session,
        method="post",
        accepts=Login,
        errors={
            400: "The body is not a login.",
            401: "The token is wrong.",
            403: OTHER_SITE,
            429: "Too many wrong tokens from this address: try again later.",
        },
    ),
    Route(
        "/api/logout",
        api.LogoutHandler,
        "logout",
        "Ends the session of this browser.",
        "Logged out; the cookie is cleared.",
        Session,
        method="post",
        errors={403: OTHER_SITE},
    ),
    Route(
        "/api/openapi.json",
        api.OpenapiHandler,
        "getOpenapi",
        "This document.",
        "OpenAPI 3.1.",
        MediaType("application/json", {"type": "object"}),
    ),
)
