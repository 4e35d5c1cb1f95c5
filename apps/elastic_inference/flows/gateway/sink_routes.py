"""The routes of `/api/sinks`, included in `routes`."""

from __future__ import annotations

from typing import Any

from elastic_inference.domain.sink_documents import DeadLetters, Resent, Sinks, SinkTest, SinkView
from elastic_inference.domain.sink_spec import SINK_KINDS
from elastic_inference.flows.gateway import api_sinks

_ERRORS = {
    403: "The token is not that of an admin of all cameras; or the request comes from another site.",
    503: "Redis is unavailable, or no event worker answers.",
}
_NONE = {404: "No such sink.", **_ERRORS}
_SINK = "/api/sinks/{name}"
_IN_FILE = "The sink is in SINKS_FILE, or there are too many."
# A request may omit `name`.
_SPEC = {"oneOf": [{"$ref": f"#/components/schemas/{spec.__name__}"} for spec in SINK_KINDS.values()]}
# The fields of `Route`: path, handler, operation, summary, success, returns; then others by name, `accepts` as schema.
ROWS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    (
        ("/api/sinks", api_sinks.SinksHandler, "listSinks", "Where events are delivered to.", "The sinks.", Sinks),
        {"errors": _ERRORS},
    ),
    ((_SINK, api_sinks.SinkHandler, "getSink", "One sink.", "The sink.", SinkView), {"errors": _NONE}),
    (
        (_SINK, api_sinks.SinkHandler, "putSink", "Adds or replaces a sink.", "The sink.", SinkView),
        {
            "method": "put",
            "accepts": _SPEC,
            "errors": {400: "The specification is wrong; the message names the field.", 409: _IN_FILE, **_ERRORS},
        },
    ),
    (
        (_SINK, api_sinks.SinkHandler, "removeSink", "Removes a sink.", "Removed.", None),
        {"method": "delete", "status": 204, "errors": {409: _IN_FILE, **_NONE}},
    ),
    (
        (
            f"{_SINK}/test",
            api_sinks.SinkTestHandler,
            "testSink",
            "Delivers a test event, beside what is delivered already.",
            "What came of it.",
            SinkTest,
        ),
        {"method": "post", "errors": {429: "Too many requests at once.", **_NONE}},
    ),
    (
        (
            f"{_SINK}/dead",
            api_sinks.DeadLettersHandler,
            "listDeadLetters",
            "The oldest events that the sink refused for good.",
            "The dead letters.",
            DeadLetters,
        ),
        {"errors": _NONE},
    ),
    (
        (
            f"{_SINK}/dead/resend",
            api_sinks.ResendHandler,
            "resendDeadLetters",
            "Delivers dead letters again: those of `ids`, or the oldest hundred. They are out of order.",
            "What came of it.",
            Resent,
        ),
        {"method": "post", "errors": {429: "Too many requests at once.", **_NONE}},
    ),
)
