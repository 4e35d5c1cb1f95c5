"""The custom resource's definition holds what `CameraSpec` holds, in the words that Kubernetes knows."""

from __future__ import annotations

from typing import Any

import kubernetes_validate

from elastic_inference.adapters.camera_resource.schema import NOT_IN_THE_RESOURCE, definition, spec_schema
from elastic_inference.domain.camera import CameraSpec


def walk(schema: dict[str, Any]) -> list[dict[str, Any]]:
    found = [schema]
    for each in schema.get("properties", {}).values():
        found += walk(each)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += walk(schema[key])
    return found


def test_the_definition_is_valid() -> None:
    kubernetes_validate.validate(definition(), "1.36", strict=True)


def test_every_field_of_a_specification_is_in_the_resource_but_its_name_and_login() -> None:
    schema = spec_schema()
    assert set(schema["properties"]) == set(CameraSpec.model_fields) - set(NOT_IN_THE_RESOURCE)
    assert schema["required"] == ["url"]


def test_it_says_only_what_a_structural_schema_may_say() -> None:
    unknown = {"$ref", "$defs", "anyOf", "title", "default", "propertyNames", "writeOnly", "const"}
    for each in walk(definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
        assert not unknown & set(each), each
        assert "type" in each
        assert not {"properties", "additionalProperties"} <= set(each), "the API server refuses both together"


def test_limits_are_those_of_the_model() -> None:
    fields = spec_schema()["properties"]
    assert (fields["fps"]["minimum"], fields["fps"]["exclusiveMinimum"], fields["fps"]["maximum"]) == (0, True, 240)
    assert fields["size"]["enum"] == ["auto", "source"]
    assert fields["types"]["items"]["pattern"].startswith("^[A-Za-z0-9]")
