"""Compares the gateway's answers with its own description of the API."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

from elastic_inference.flows.gateway.server import HERE
from tests.support.gateway import Answer, RunningGateway

OPENAPI = json.loads((HERE / "openapi.json").read_text())


def check_schema(document: Any, name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": OPENAPI["components"]}
    jsonschema.Draft202012Validator(schema).validate(document)


def check(answer: Answer, path: str, method: str = "get") -> Answer:
    """Fails unless the description has this status and the body fits its schema."""
    described = OPENAPI["paths"][path][method]["responses"]
    assert str(answer.status) in described, (answer.status, answer.body)
    ((content_type, media),) = described[str(answer.status)]["content"].items()
    assert answer.headers["Content-Type"] == content_type
    if content_type == "application/json":
        if "$ref" in media["schema"]:
            check_schema(answer.json, media["schema"]["$ref"].rpartition("/")[2])
        else:
            assert isinstance(answer.json, dict)
    return answer


def streams_by_id(gateway: RunningGateway) -> dict[str, Any]:
    """The documents of all streams."""
    document = check(gateway.ask("/api/streams"), "/api/streams").json
    return {each["id"]: each for each in document["streams"]}
