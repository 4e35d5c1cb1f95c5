"""Reads and writes the text of `cameras.yaml`. Pure.

A mapping with one key, `cameras`: a list of specifications. Errors name the line and the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from elastic_inference.domain.camera import MAX_CAMERAS, CameraSpec
from elastic_inference.domain.camera_changes import RESERVED_NAMES
from elastic_inference.domain.camera_errors import field_sentences
from elastic_inference.domain.errors import ElasticInferenceError

MAX_FILE_BYTES = 8 * 1024 * 1024
HEADER = "# The cameras of the pool (doc/cameras.md). Housekeeping writes this file; comments are not kept.\n"
_MAX_DEPTH = 8
_MAX_NODES = 64 * MAX_CAMERAS
_EXPECTED = "expected `cameras:` and below it a list of cameras"
# Where PyYAML has it, libyaml's parser, which is about ten times as fast.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class CameraFileError(ElasticInferenceError):
    """The file is broken. Its text names the line and the field, but no value."""


def parse(content: bytes) -> dict[str, CameraSpec]:
    """The cameras by name. Raises CameraFileError."""
    if len(content) > MAX_FILE_BYTES:
        raise CameraFileError(f"expected at most {MAX_FILE_BYTES // 1024 // 1024} MB")
    try:
        text = content.decode()
        _check_events(text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            document = loader.construct_document(root) if root else None
        finally:
            loader.dispose()
    except UnicodeDecodeError:
        raise CameraFileError("expected a text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise CameraFileError(f"{_line(mark)}expected YAML ({str(error.problem or error.context)[:200]})") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError):
        raise CameraFileError("expected YAML") from None
    return _cameras(root, document)


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


def _check_events(text: str) -> None:
    """Refuses aliases and deep nesting, by which a short text could become a huge document."""
    depth = 0
    for nodes, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent):
            raise CameraFileError(f"{_line(event.start_mark)}expected no YAML alias (*{str(event.anchor)[:60]})")
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise CameraFileError(f"{_line(event.start_mark)}expected fewer or flatter entries")


def _cameras(root: Any, document: Any) -> dict[str, CameraSpec]:
    if not isinstance(document, dict) or set(document) != {"cameras"}:
        raise CameraFileError(_EXPECTED)
    entries = document["cameras"]
    if entries is None:
        entries = []
    nodes = root.value[0][1]
    if not isinstance(entries, list):
        raise CameraFileError(f"{_line(nodes.start_mark)}{_EXPECTED}")
    if len(entries) > MAX_CAMERAS:
        raise CameraFileError(f"expected at most {MAX_CAMERAS} cameras")
    found: dict[str, CameraSpec] = {}
    for entry, node in zip(entries, nodes.value if entries else (), strict=True):
        _check_keys_once(node)
        spec = _camera(entry, node)
        if spec.name in found:
            raise CameraFileError(f"{_line(node.start_mark)}expected each name once: {spec.name} is there already")
        found[spec.name] = spec
    return found


def _camera(entry: Any, node: Any) -> CameraSpec:
    if not isinstance(entry, dict):
        raise CameraFileError(f"{_line(node.start_mark)}expected a camera: a mapping with `name` and `url`")
    try:
        spec = CameraSpec.model_validate(entry)
    except ValidationError as error:
        place, words = next(iter(field_sentences(error, CameraSpec).items()))
        shown = entry.get("name")
        whose = f"camera {str(shown)[:128]}, " if isinstance(shown, str) else ""
        raise CameraFileError(
            f"{_line(_mark_of(node, place))}{whose}{place}: {words[:1].lower()}{words[1:].rstrip('.')}"
        ) from None
    if spec.name in RESERVED_NAMES:
        raise CameraFileError(f"{_line(_mark_of(node, 'name'))}name: {spec.name} is not allowed: expected another name")
    if spec.login_secret is not None:
        where = _line(_mark_of(node, "login_secret"))
        raise CameraFileError(
            f"{where}camera {spec.name}, login_secret: expected `login`: a file can't use a Secret of Kubernetes"
        )
    return spec


def _check_keys_once(node: Any) -> None:
    """Refuses duplicate keys, of which YAML would silently take the last."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if key.value in seen and isinstance(key.value, str):
            raise CameraFileError(f"{_line(key.start_mark)}{key.value[:64]}: expected each field once")
        if isinstance(key.value, str):
            seen.add(key.value)
        _check_keys_once(value)


def _mark_of(node: Any, place: str) -> Any:
    """Where a field such as `login.password` or `types.1` begins, or its entry if the field is missing."""
    mark = node.start_mark
    for part in place.split("."):
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == part]
            if not pairs:
                return mark
            mark, node = pairs[0][0].start_mark, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            mark = node.start_mark
    return mark


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}: " if mark is not None else ""
