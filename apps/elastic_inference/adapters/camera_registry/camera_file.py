"""Reads and writes the text of `cameras.yaml`. Pure.

A mapping with one key, `cameras`: a list of specifications. Errors name the line and the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from elastic_inference.adapters.camera_registry.camera_values import too_large
from elastic_inference.base.named_list import ListForm, read_named
from elastic_inference.base.yaml_text import YamlLimits, YamlTextError, line_of
from elastic_inference.domain import keys
from elastic_inference.domain.camera import MAX_CAMERAS, CameraSpec
from elastic_inference.domain.camera_changes import RESERVED_NAMES
from elastic_inference.domain.camera_errors import field_sentences
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.fields import shown_location

MAX_FILE_BYTES = 8 * 1024 * 1024
HEADER = "# The cameras of the pool (doc/camera_pool.md). Housekeeping writes this file; comments are not kept.\n"
_FORM = ListForm("cameras", MAX_CAMERAS, MAX_FILE_BYTES, YamlLimits(depth=8, nodes=64 * MAX_CAMERAS))
# Where PyYAML has it, libyaml's, which is about ten times as fast.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class CameraFileError(ElasticInferenceError):
    """The file is broken. Its text names the line and the field, but no value."""


def parse(content: bytes) -> dict[str, CameraSpec]:
    """The cameras by name. Raises CameraFileError."""
    try:
        return read_named(content, _FORM, _camera)
    except YamlTextError as error:
        raise CameraFileError(str(error)) from None


def render(cameras: Mapping[str, CameraSpec]) -> bytes:
    """The text of the file, sorted by name, with only what differs from the defaults. `parse` reads it."""
    listed = [_entry(cameras[name]) for name in sorted(cameras)]
    text = yaml.dump({"cameras": listed}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return (HEADER + text).encode()


def _entry(spec: CameraSpec) -> dict[str, Any]:
    entry: dict[str, Any] = spec.model_dump(mode="json", exclude_defaults=True)
    if spec.login is not None:
        entry["login"] = {"user": spec.login.user, "password": spec.login.password.get_secret_value()}
    return entry


def _camera(_: int, entry: Any, node: Any) -> CameraSpec:
    if not isinstance(entry, dict):
        raise CameraFileError(f"{line_of(node)}expected a camera: a mapping with `name` and `url`")
    try:
        spec = CameraSpec.model_validate(entry)
    except ValidationError as error:
        location, words = next(iter(field_sentences(error, CameraSpec).items()))
        name = entry.get("name")
        # Anything that is not a valid name may hold a password, such as a URL.
        whose = f"camera {name}, " if isinstance(name, str) and keys.is_name(name) else ""
        where = f"{line_of(_node_at(node, location))}{whose}{shown_location(location.split('.'))}"
        raise CameraFileError(f"{where}: {words[:1].lower()}{words[1:].rstrip('.')}") from None
    if spec.name in RESERVED_NAMES:
        where = line_of(_node_at(node, "name"))
        raise CameraFileError(f"{where}name: {spec.name} is not allowed: expected another name")
    if spec.login_secret is not None:
        where = line_of(_node_at(node, "login_secret"))
        raise CameraFileError(
            f"{where}camera {spec.name}, login_secret: expected `login`: a file can't use a Kubernetes Secret"
        )
    if problem := too_large(spec):
        raise CameraFileError(f"{line_of(node)}camera {spec.name}: {problem}")
    return spec


def _node_at(node: Any, location: str) -> Any:
    """The node where a field such as `login.password` or `types.1` begins, or its entry if the field is missing."""
    found = node
    for part in location.split("."):
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == part]
            if not pairs:
                return found
            found, node = pairs[0]
        elif isinstance(node, yaml.SequenceNode) and part.isdecimal() and int(part) < len(node.value):
            found = node = node.value[int(part)]
    return found
