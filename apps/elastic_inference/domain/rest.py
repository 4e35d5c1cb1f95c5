"""Small events, session, login and error of the gateway's API: the one source of their fields.

`document_json` writes every document of the API.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, with_config

from elastic_inference.domain.access_token import MAX_TOKEN_LENGTH
from elastic_inference.domain.fields import Rate
from elastic_inference.domain.late import CLOSED
from elastic_inference.domain.pool import Missing
from elastic_inference.domain.role import Role


class ErrorCode(StrEnum):
    """A stable error code for programs."""

    BAD_REQUEST = "bad_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    PRECONDITION_FAILED = "precondition_failed"
    TOO_MANY = "too_many"
    NO_FRAME = "no_frame"
    UNAVAILABLE = "unavailable"
    BAD_GATEWAY = "bad_gateway"
    INTERNAL = "internal"


ServerTimeMs = Annotated[
    Rate, Field(description="The server's clock (that of the frame queue's Redis), Unix milliseconds.")
]
ServerVersion = Annotated[str, Field(description="The server's version.")]


@with_config(CLOSED)
@dataclass(slots=True)
class HelloEvent:
    """First event of /api/events."""

    version: ServerVersion
    time_ms: ServerTimeMs


@with_config(CLOSED)
@dataclass(slots=True)
class TimeEvent:
    """Event `time`, every 15 s: the server's clock."""

    time_ms: ServerTimeMs


@with_config(CLOSED)
@dataclass(slots=True)
class ProblemEvent:
    """Event `problem`: a part stopped or started answering; `missing` is empty when all is healthy again."""

    missing: Missing


@with_config(CLOSED)
@dataclass(slots=True)
class Session:
    """Whether this browser may use the API."""

    login_required: Annotated[bool, Field(description="Whether the server asks for a token at all.")]
    logged_in: Annotated[bool, Field(description="Whether this request carried a valid login; true if none is needed.")]
    version: ServerVersion
    name: Annotated[str | None, Field(description="The name of the token; null without a login.")]
    role: Annotated[Role | None, Field(description="What the token allows; admin if none is needed, null if one is.")]
    cameras: Annotated[
        tuple[str, ...] | None,
        Field(
            description="Names of the cameras that it may see, in which * matches any characters and ? a single one; "
            "null if a login is required and missing."
        ),
    ]
    websocket_problem: Annotated[
        str | None,
        Field(description="Why websockets of this page would be refused (its origin); null if they are not."),
    ]


@with_config(ConfigDict(defer_build=True))
@dataclass(slots=True)
class Login:
    """A login. Other fields are ignored."""

    token: Annotated[
        str,
        Field(
            description="GATEWAY_TOKEN or a token of GATEWAY_TOKENS_FILE, as the administrator gave it.",
            min_length=1,
            max_length=MAX_TOKEN_LENGTH,
            json_schema_extra={"writeOnly": True},
        ),
    ]


@with_config(CLOSED)
@dataclass(slots=True)
class ErrorDetail:
    """The details of an error."""

    code: ErrorCode
    message: Annotated[str, Field(description="A sentence for people.")]
    fields: Annotated[
        dict[str, str],
        Field(
            exclude_if=operator.not_,
            description="Of a camera's specification: each wrong field (url, login.password, types.1 …) with a "
            "sentence. Missing in other errors.",
        ),
    ] = field(default_factory=dict)


@with_config(CLOSED)
@dataclass(slots=True)
class Error:
    """The body of an error response: why the request failed."""

    error: ErrorDetail


_adapters: dict[type, TypeAdapter[Any]] = {}


def document_json(document: object) -> bytes:
    """A document of the API as compact UTF-8 JSON."""
    kind = type(document)
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind].dump_json(document)
