"""The API's description: the committed file is up to date, and matches the routes that the gateway serves."""

from __future__ import annotations

import json
from typing import Any, cast

import jsonschema
import pytest
from tests.support.gateway import a_result
from tests.support.openapi import OPENAPI, check_schema
from tornado.routing import PathMatches, Rule
from tornado.web import Application, RequestHandler

from elastic_inference.domain.result import result_json
from elastic_inference.flows.gateway import openapi
from elastic_inference.flows.gateway.application import rest_application
from elastic_inference.flows.gateway.handlers import BaseHandler, UnknownHandler

EXAMPLE = {"{id}": "gate-1:people:inferred", "{name}": "gate-1"}


def application() -> Application:
    return rest_application(cast(Any, None))


def rest_rules() -> list[tuple[str, PathMatches, type[BaseHandler]]]:
    """(pattern, matcher, handler) of every route below /api."""
    rules = cast(list[Rule], application().wildcard_router.rules)
    found = [(cast(PathMatches, rule.matcher), cast(type[RequestHandler], rule.target)) for rule in rules]
    return [
        (matcher.regex.pattern, matcher, handler)
        for matcher, handler in found
        if issubclass(handler, BaseHandler)
        and handler is not UnknownHandler
        and matcher.regex.pattern.startswith("/api")
    ]


def example(path: str) -> str:
    for parameter, value in EXAMPLE.items():
        path = path.replace(parameter, value)
    return path


def rule_of(path: str) -> PathMatches:
    """The first that matches, which is the one that serves."""
    return next(matcher for _, matcher, _ in rest_rules() if matcher.regex.fullmatch(example(path)))


def test_the_committed_description_is_up_to_date() -> None:
    assert openapi.document() == OPENAPI, "run `make docs`"


def test_every_described_path_has_a_route_that_serves_its_methods() -> None:
    for path, operations in OPENAPI["paths"].items():
        _, _, handler = next(rule for rule in rest_rules() if rule[1].regex.fullmatch(example(path)))
        for method in operations:
            assert getattr(handler, method) is not getattr(RequestHandler, method), (path, method)


def test_every_route_is_described_with_its_methods() -> None:
    for pattern, matcher, handler in rest_rules():
        (path,) = {path for path in OPENAPI["paths"] if rule_of(path).regex.pattern == matcher.regex.pattern}
        served = {
            name
            for name in ("get", "post", "put", "patch", "delete")
            if getattr(handler, name) is not getattr(RequestHandler, name)
        }
        assert served == set(OPENAPI["paths"][path]), pattern


def test_routes_that_need_a_login_describe_401_and_429() -> None:
    for _, matcher, handler in rest_rules():
        for path, operations in OPENAPI["paths"].items():
            if matcher.regex.fullmatch(example(path)):
                for operation in operations.values():
                    assert ("security" in operation) != handler.needs_login
                    assert not handler.needs_login or {"401", "429"} <= set(operation["responses"]), path


def test_every_operation_describes_what_any_request_can_get() -> None:
    for path, operations in OPENAPI["paths"].items():
        for operation in operations.values():
            assert {"400", "403", "429"} <= set(operation["responses"]), path


def test_the_schemas_are_valid() -> None:
    for schema in OPENAPI["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_field_is_described() -> None:
    for name, schema in OPENAPI["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            assert "description" in described or "$ref" in described, (name, field)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seq": None, "ts": None, "arrived_ms": None, "detections": ()},
        {"attributes": {"track": {"id": 7}, "zones": ["gate"]}},
    ],
)
def test_a_result_fits_its_description(changes: dict[str, Any]) -> None:
    check_schema(json.loads(result_json(a_result(1, **changes))), "Result")
