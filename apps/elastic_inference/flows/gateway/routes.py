"""The REST routes: for each path its handler and its description.

`application` serves them, `openapi` describes them. To add an endpoint, write a handler in `api`, a model in
`domain.rest` and an entry here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_documents import Camera, CameraProbe, Cameras, ProbeRequest
from elastic_inference.domain.events.camera_counts import CameraCounts
from elastic_inference.domain.events.event import Event, EventKind
from elastic_inference.domain.events.images import FRAME_NUMBER
from elastic_inference.domain.events.page import EventPage
from elastic_inference.domain.pool import Stats, Stream, Streams
from elastic_inference.domain.rest import Login, Session
from elastic_inference.domain.rest_events import EVENTS
from elastic_inference.flows.gateway import api, api_cameras, api_events
from elastic_inference.flows.gateway.handlers import BaseHandler
from elastic_inference.flows.gateway.model_routes import ROWS as MODEL_ROWS
from elastic_inference.flows.gateway.sink_routes import ROWS as SINK_ROWS


@dataclass(frozen=True, slots=True)
class MediaType:
    """The media type and schema of a response body that is not one of our JSON models."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One path with one method. `returns` and `accepts` are models, media types or None; `errors` maps status to text.

    `openapi` adds those of every request (400, 403, 429), and of the login check (401, 429) where a login is needed.
    """

    path: str
    handler: type[BaseHandler]
    operation: str
    summary: str
    success: str
    returns: Any
    method: str = "get"
    status: int = 200
    accepts: Any = None
    if_match: bool = False
    errors: dict[int, str] = field(default_factory=dict)
    # Parameters of the query, with their descriptions and schemas.
    query: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)

    @property
    def pattern(self) -> str:
        """The path as a regular expression for Tornado; each `{parameter}` becomes an argument of the handler."""
        # An event's id has a slash, which proxies that strip a prefix pass on unencoded, as nginx does.
        path = re.escape(self.path).replace(r"\{event\}", "([^/]+(?:/(?!snapshot$)[^/]+)?)")
        return re.sub(r"\\{\w+\\}", "([^/]+)", path)


NO_STREAM = "No such stream."
REDIS_UNAVAILABLE = "Redis is unavailable and no data has been read yet."
_NO_EVENTS = "Redis is unavailable, or refuses."
OTHER_SITE = "The request comes from a page of another site, or is for a host name that is refused."


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


_CAMERA = "/api/cameras/{name}"
_SPEC_WRONG = "The specification is wrong; `fields` says where."
_MANAGED = "The cameras can't be changed here: their file is read-only, or another tool manages this one."
_CAMERA_ERRORS = {
    403: "The token is a viewer's, or does not see a camera of this name; or the request comes from another site.",
    503: "Redis is unavailable, or no service answers that may change cameras.",
}
_PATCH = MediaType(
    "application/merge-patch+json",
    {
        "type": "object",
        "description": "JSON merge patch (RFC 7396): fields of a CameraSpec to replace; null resets a field, and "
        "removes the login.",
    },
)


def _change(method: str, operation: str, summary: str, success: str, **more: Any) -> Route:
    errors = {404: "No such camera.", 409: _MANAGED, 412: "The camera has changed since.", **_CAMERA_ERRORS}
    errors |= more.pop("errors", {})
    returns = None if method == "delete" else Camera
    handler = api_cameras.CameraHandler
    return Route(
        _CAMERA, handler, operation, summary, success, returns, method=method, if_match=True, errors=errors, **more
    )


CAMERA_ROUTES = (
    Route(
        "/api/cameras",
        api_cameras.CamerasHandler,
        "listCameras",
        "The cameras of the pool; for admins.",
        "The cameras.",
        Cameras,
        errors=_CAMERA_ERRORS,
    ),
    Route(
        "/api/cameras",
        api_cameras.CamerasHandler,
        "addCamera",
        "Adds a camera.",
        "Added; Location is its address, ETag its revision.",
        Camera,
        method="post",
        status=201,
        accepts=CameraSpec,
        errors={400: _SPEC_WRONG, 409: f"There is already a camera with this name. {_MANAGED}", **_CAMERA_ERRORS},
    ),
    Route(
        "/api/cameras/probe",
        api_cameras.ProbeHandler,
        "probeCamera",
        "Opens a camera and says within some 10 s what it is, or why it can't be used.",
        "What it is.",
        CameraProbe,
        method="post",
        accepts=ProbeRequest,
        errors={
            400: "The request is wrong, and `fields` says where; or the camera delivers no frame, and why.",
            404: "No such camera.",
            429: "Too many probes at once, or too many wrong tokens from this address.",
            **_CAMERA_ERRORS,
        },
    ),
    Route(
        _CAMERA,
        api_cameras.CameraHandler,
        "getCamera",
        "One camera; ETag is its revision.",
        "The camera.",
        Camera,
        errors={404: "No such camera.", **_CAMERA_ERRORS},
    ),
    _change(
        "put",
        "replaceCamera",
        "Replaces a camera's specification. Without `login`, the login stays; null removes it.",
        "The camera.",
        accepts=CameraSpec,
        errors={400: _SPEC_WRONG},
    ),
    _change(
        "patch",
        "changeCamera",
        "Changes some fields of a camera's specification.",
        "The camera.",
        accepts=_PATCH,
        errors={400: _SPEC_WRONG},
    ),
    _change("delete", "removeCamera", "Removes a camera.", "Removed.", status=204),
)
_WORD: dict[str, Any] = {"type": "string", "maxLength": api_events.MAX_TEXT}
_TIME: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1e15}
EVENT_ROUTES = (
    Route(
        "/api/events/log",
        api_events.EventLogHandler,
        "listEvents",
        "Events of the cameras that the token sees, in pages, the newest first. Each entry is one revision.",
        "A page.",
        EventPage,
        errors={503: _NO_EVENTS},
        query={
            "camera": ("Only of this camera.", _WORD),
            "type": ("Only of this inference type.", _WORD),
            "label": ("Only of objects of this label.", _WORD),
            "zone": ("Only of this zone or line.", _WORD),
            "kind": ("Only of this kind.", {"type": "string", "enum": [str(each) for each in EventKind]}),
            "since": ("Only what happened at this time or later, Unix milliseconds.", _TIME),
            "until": ("Only what happened at this time or before, Unix milliseconds.", _TIME),
            "limit": (
                f"How many at most; {api_events.DEFAULT_LIMIT} without it.",
                {"type": "integer", "minimum": 1, "maximum": api_events.MAX_LIMIT},
            ),
            "cursor": ("`next` of an earlier page.", {"type": "string", "pattern": r"^(\d{1,19}-\d{1,20}-\d{1,3})?$"}),
        },
    ),
    Route(
        "/api/cameras/{name}/counts",
        api_events.CountsHandler,
        "getCounts",
        "What the zones and lines of a camera have counted: totals, and the last hour minute by minute. Without zones "
        "and lines both lists are empty. For viewers too.",
        "The counters.",
        CameraCounts,
        errors={404: "Not the name of a camera that the token sees.", 503: _NO_EVENTS},
    ),
    Route(
        "/api/events/{event}",
        api_events.EventHandler,
        "getEvent",
        "The newest revision of one event.",
        "The event.",
        Event,
        errors={404: "No such event, or it is too old.", 503: _NO_EVENTS},
    ),
    Route(
        "/api/events/{event}/snapshot",
        api_events.EventImageHandler,
        "getEventSnapshot",
        "The image of an event, without boxes; `snapshot_box` of the event says where its object is.",
        "A JPEG; ETag names it.",
        MediaType("image/jpeg", {"type": "string", "contentMediaType": "image/jpeg"}),
        errors={404: "No such event, or it has no image, and why.", 503: _NO_EVENTS},
        query={
            "image": (
                "As in the event's `snapshot`; without it, that of its newest revision.",
                {"type": "string", "pattern": rf"^{FRAME_NUMBER.pattern}$"},
            )
        },
    ),
)


def _sink_route(*row: Any, accepts: dict[str, Any] | None = None, **more: Any) -> Route:
    if accepts is not None:
        more["accepts"] = MediaType("application/json", accepts)
    return Route(*row, **more)


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
    *EVENT_ROUTES,
    *(_sink_route(*row, **more) for row, more in SINK_ROWS),
    *(Route(*row, **more) for row, more in MODEL_ROWS),
    *CAMERA_ROUTES,
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
            429: "Too many wrong tokens or connections from this address: try again later.",
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
