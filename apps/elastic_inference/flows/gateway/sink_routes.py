"""The routes of `/api/sinks`, included in `routes`."""

from __future__ import annotations

from typing import Any

from elastic_inference.domain.sink_documents import DeadLetters, DeadRemoved, Resent, Sinks, SinkTest, SinkView
from elastic_inference.domain.sink_spec import SINK_KINDS
from elastic_inference.flows.gateway import api_sinks

_ERRORS = {
    403: "The token is not that of an admin of all cameras; or the request comes from another site.",
    503: "Redis is unavailable, or no event worker answers.",
}
_NONE = {404: "No such sink.", **_ERRORS}
_SINK = "/api/sinks/{name}"
_CHANGED = "The sink has changed since."
_IN_FILE = "The sink is in SINKS_FILE, or there are too many."
# A request may omit `name`.
_SPEC = {"oneOf": [{"$ref": f"#/components/schemas/{spec.__name__}"} for spec in SINK_KINDS.values()]}
# The fields of `Route`: path, handler, operation, summary, success, returns; then others by name, `accepts` as schema.
ROWS: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    (
        ("/api/sinks", api_sinks.SinksHandler, "listSinks", "Where events are delivered to.", "The sinks.", Sinks),
        {"errors": _ERRORS},
    ),
    (
        (_SINK, api_sinks.SinkHandler, "getSink", "One sink.", "The sink; ETag is its revision.", SinkView),
        {"errors": _NONE},
    ),
    (
        (
            _SINK,
            api_sinks.SinkHandler,
            "putSink",
            "Adds or replaces a sink; with If-Match, only replaces it.",
            "The sink; ETag is its revision.",
            SinkView,
        ),
        {
            "method": "put",
            "accepts": _SPEC,
            "if_match": True,
            "errors": {
                400: "The specification is wrong; the message names the field.",
                409: _IN_FILE,
                412: _CHANGED,
                **_ERRORS,
            },
        },
    ),
    (
        (_SINK, api_sinks.SinkHandler, "removeSink", "Removes a sink.", "Removed.", None),
        {"method": "delete", "status": 204, "if_match": True, "errors": {409: _IN_FILE, 412: _CHANGED, **_NONE}},
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
            f"{_SINK}/dead",
            api_sinks.DeadLettersHandler,
            "removeDeadLetters",
            "Deletes dead letters: those of `id`, or all.",
            "How many.",
            DeadRemoved,
        ),
        {
            "method": "delete",
            "query": {
                "id": (
                    "The id of a dead letter, at most 100 times; without it, all are deleted.",
                    {"type": "array", "items": {"type": "string"}, "maxItems": 100},
                )
            },
            "errors": {429: "Too many requests at once.", **_NONE},
        },
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
