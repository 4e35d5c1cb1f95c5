"""The definition of the custom resource `Camera`, made from `CameraSpec`. Pure; called by the manifests' generator."""

from __future__ import annotations

from typing import Any

from elastic_inference.domain.camera import CameraSpec, CameraState

GROUP = "elastic-inference.io"
VERSION = "v1"
KIND = "Camera"
PLURAL = "cameras"
# The resource's name is the camera's, and its login is in a Secret.
NOT_IN_THE_RESOURCE = ("name", "login")
# The JSON Schema keywords that a Kubernetes structural schema may have.
_KNOWN = {
    *("type", "description", "enum", "items", "properties", "required", "format", "pattern", "minimum", "maximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "maxProperties", "additionalProperties"),
}
_COLUMNS = (
    ("URL", "string", ".spec.url", 0),
    ("Types", "string", ".spec.types", 0),
    ("State", "string", ".status.state", 0),
    ("FPS", "number", ".status.fps", 0),
    ("Worker", "string", ".status.worker", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Reason", "string", ".status.reason", 1),
)
_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "state": {"type": "string", "description": f"One of {', '.join(CameraState)}."},
        "reason": {"type": "string", "description": "The reason for the state, in a sentence."},
        "worker": {"type": "string", "description": "The source worker that runs it."},
        "fps": {"type": "number", "description": "Frames a second that the source delivers, under the cap."},
        "observedGeneration": {"type": "integer", "format": "int64"},
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                "properties": {
                    "type": {"type": "string"},
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "observedGeneration": {"type": "integer", "format": "int64"},
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                },
            },
        },
    },
}


def definition() -> dict[str, Any]:
    """The CustomResourceDefinition as an object to apply."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{PLURAL}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "elastic-inference"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": KIND, "plural": PLURAL, "singular": KIND.lower(), "shortNames": ["cam"]},
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "priority": priority}
                        for name, kind, path, priority in _COLUMNS
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "A camera of the pool.",
                            "required": ["spec"],
                            "properties": {"spec": spec_schema(), "status": _STATUS},
                        }
                    },
                }
            ],
        },
    }


def spec_schema() -> dict[str, Any]:
    """The schema of `spec`: the fields of `CameraSpec` except its name and login."""
    document = CameraSpec.model_json_schema()
    properties = {
        name: _structural(field, document["$defs"])
        for name, field in document["properties"].items()
        if name not in NOT_IN_THE_RESOURCE
    }
    required = [name for name in document["required"] if name in properties]
    return {"type": "object", "required": required, "properties": properties}


def _structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema without what Kubernetes does not allow: references, alternatives with null, some keywords."""
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    if "anyOf" in schema:
        (value,) = (choice for choice in schema["anyOf"] if choice.get("type") != "null")
        return _structural({**value, **{key: schema[key] for key in schema if key != "anyOf"}}, definitions)
    found = {key: value for key, value in schema.items() if key in _KNOWN}
    if "exclusiveMinimum" in schema:
        found |= {"minimum": schema["exclusiveMinimum"], "exclusiveMinimum": True}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _structural(found[key], definitions)
    if "properties" in found:
        # Kubernetes refuses both in one schema. It drops unknown fields, and kubectl refuses them.
        found.pop("additionalProperties", None)
        found["properties"] = {name: _structural(each, definitions) for name, each in found["properties"].items()}
    return found
