"""The API's description, made from the routes and the domain's models.

`make docs` writes it to `openapi.json`. The gateway serves that file, and the dashboard's types are made from it.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from elastic_inference.domain.events.event import Event
from elastic_inference.domain.fields import Name, StreamId
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.rest import Error
from elastic_inference.domain.rest_events import EVENTS
from elastic_inference.domain.result import Result
from elastic_inference.flows.gateway.auth import SESSION_COOKIE
from elastic_inference.flows.gateway.routes import ROUTES, MediaType, Route

DESCRIPTION = """\
Streams, the pool's state and events. Results and images come by websocket at /<stream id>: without a query as binary \
JPEG with the boxes drawn; with ?format=frame as binary of 4 bytes big-endian length n, n bytes of UTF-8 JSON of the \
schema Result, then the JPEG; with ?format=json as text of the schema Result. Close codes: 4404 unknown stream, 4429 \
too many viewers. If GATEWAY_TOKEN or GATEWAY_TOKENS_FILE is set, everything but /api/session, /api/login and \
/api/logout needs a token, websockets included; an open gateway ignores it. A token of GATEWAY_TOKENS_FILE has a role \
(admin or viewer) and a list of cameras: streams of other cameras do not exist for it, in lists, events, statistics, \
snapshots and websockets alike, and a viewer changes nothing."""
EventId = Annotated[str, Field(min_length=1, max_length=600)]
_REF = "#/components/schemas/"
_LOGIN_ERRORS = {
    401: "No valid token or login.",
    429: "Too many wrong tokens or connections from this address, or too many such requests at once.",
}
_ERRORS = {
    400: "The request is not valid.",
    403: "Without a token: requests for this host name are refused, see ALLOWED_HOSTS.",
    429: "Too many connections from this address: close some, or try again later.",
}
_PARAMETERS = {
    "id": ("The stream's id, <name>:<type>:inferred.", StreamId),
    "name": ("The name of the camera or the sink.", Name),
    "type": ("The inference type.", Name),
    "event": ("The event's id, percent-encoded.", EventId),
}
_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of what is changed (a camera, a sink, the model of a type): the change is made only if it "
    "still has this revision.",
    "schema": {"type": "string"},
}


class _Schemas(GenerateJsonSchema):
    """Pydantic's schemas, with `type: [x, null]` for what may be null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        if isinstance(inner.get("type"), str):
            return {**inner, "type": [inner["type"], "null"]}
        return super().nullable_schema(schema)


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    models = {"Frame": Frame, "Result": Result, "Event": Event, "Error": Error}
    models |= {f"{kind.capitalize()}Event": event for kind, event in EVENTS.items()}
    for route in ROUTES:
        models |= {each.__name__: each for each in (route.returns, route.accepts) if isinstance(each, type)}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Elastic Inference gateway",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"cookie": []}, {}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
            },
            "schemas": schemas(models),
        },
    }


def schemas(models: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schemas of the models and of everything that they refer to, by name."""
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (name, "validation", TypeAdapter(model)) for name, model in models.items()
    ]
    made, described = TypeAdapter.json_schemas(inputs, ref_template=_REF + "{model}", schema_generator=_Schemas)
    found: dict[str, Any] = dict(described.get("$defs", {}))
    for name, _, _ in inputs:
        schema = made[name, "validation"]
        if schema != {"$ref": _REF + name}:
            found[name] = schema
    return {name: _plain(found[name]) for name in sorted(found)}


def _plain(schema: Any) -> Any:
    """The schema without titles, which repeat the names, and without defaults, which nobody sends."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _plain(each) for name, each in value.items()} if key == "properties" else _plain(value)
        for key, value in schema.items()
        if key not in ("title", "default")
    }


def _operation(route: Route) -> dict[str, Any]:
    errors = {**_ERRORS, **(_LOGIN_ERRORS if route.handler.needs_login else {}), **route.errors}
    answers = {str(route.status): _answer(route.success, route.returns)}
    answers |= {str(status): _answer(errors[status], Error) for status in sorted(errors)}
    found: dict[str, Any] = {"operationId": route.operation, "summary": route.summary}
    if not route.handler.needs_login:
        found["security"] = []
    if route.accepts is not None:
        found["requestBody"] = {"required": True, "content": _content(route.accepts)}
    parameters = re.findall(r"{(\w+)}", route.path)
    query = [
        {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
        for name, (text, schema) in route.query.items()
    ]
    if parameters or query:
        found["parameters"] = [*map(_parameter, parameters), *query, *([_IF_MATCH] if route.if_match else [])]
    return {**found, "responses": answers}


def _parameter(name: str) -> dict[str, Any]:
    description, form = _PARAMETERS[name]
    schema = TypeAdapter(form).json_schema()
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _answer(description: str, body: Any) -> dict[str, Any]:
    return {"description": description, **({} if body is None else {"content": _content(body)})}


def _content(body: Any) -> dict[str, Any]:
    if isinstance(body, MediaType):
        return {body.name: {"schema": body.schema}}
    return {"application/json": {"schema": {"$ref": _REF + body.__name__}}}


def text() -> str:
    """The document as written to `openapi.json`."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
