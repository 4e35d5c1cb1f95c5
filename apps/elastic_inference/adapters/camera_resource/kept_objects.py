"""What the controller keeps of the cluster's `Camera` objects, within bounds. Pure; called by `kubernetes_store`.

Who may create cameras can give each megabytes of annotations and rules, and create any number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from elastic_inference.adapters.camera_registry.camera_values import MAX_BYTES
from elastic_inference.domain.camera import MAX_CAMERAS

MANAGED_BY = "app.kubernetes.io/managed-by"
# All specifications together, as JSON, as in a file of cameras. Parsed, they take some five times as much.
MAX_TOTAL_BYTES = 8 << 20
_MAX_STATUS_BYTES = 16 * 1024
_MAX_NAME, _MAX_VERSION = 253, 64
_TOO_LARGE = f"spec: expected at most {MAX_BYTES >> 10} kB of JSON"
_NO_ROOM = f"spec: the cameras of this namespace have more than {MAX_TOTAL_BYTES >> 20} MB of JSON together"
Kept = Mapping[str, Any]


def kept(resource: object) -> dict[str, Any] | None:
    """The parts of an object that are needed, `spec` as JSON; None if it is not an object with a name.

    `problem` says why the specification cannot be used.
    """
    metadata = resource.get("metadata") if isinstance(resource, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(resource, Mapping) or not isinstance(metadata, Mapping) or not _is_text(name, _MAX_NAME):
        return None
    labels, generation = metadata.get("labels"), metadata.get("generation")
    found = {
        "name": name,
        "resourceVersion": _text(metadata.get("resourceVersion")),
        "creationTimestamp": _text(metadata.get("creationTimestamp")),
        "generation": generation if isinstance(generation, int) else 0,
        "labels": {MANAGED_BY: _text(labels.get(MANAGED_BY))} if isinstance(labels, Mapping) else {},
    }
    spec, problem = _json(resource.get("spec"), MAX_BYTES), None
    if spec is None:
        problem = _TOO_LARGE
    status = _json(resource.get("status"), _MAX_STATUS_BYTES)
    return {"metadata": found, "spec": spec or b"{}", "status": from_json(status or b"{}"), "problem": problem}


def bounded(objects: Iterable[Kept]) -> dict[str, Kept]:
    """The oldest MAX_CAMERAS of them by name, oldest first; those for which there is no room have no specification."""
    found: dict[str, Kept] = {}
    total = 0
    for each in sorted(objects, key=_age)[:MAX_CAMERAS]:
        size = len(each["spec"])
        fits = total + size <= MAX_TOTAL_BYTES
        total += size if fits else 0
        found[each["metadata"]["name"]] = each if fits else {**each, "spec": b"{}", "problem": _NO_ROOM}
    return found


def put(objects: dict[str, Kept], resource: Kept) -> bool:
    """Adds or replaces one object. False if there are too many already."""
    name = resource["metadata"]["name"]
    if name not in objects and len(objects) >= MAX_CAMERAS:
        return False
    others = sum(len(each["spec"]) for other, each in objects.items() if other != name)
    fits = others + len(resource["spec"]) <= MAX_TOTAL_BYTES
    objects[name] = resource if fits else {**resource, "spec": b"{}", "problem": _NO_ROOM}
    return True


def is_older(one: Kept, other: Kept) -> bool:
    """Whether an object is an earlier state than another one, as far as their versions can be compared."""
    versions = [each["metadata"]["resourceVersion"] for each in (one, other)]
    return all(each.isdecimal() for each in versions) and int(versions[0]) < int(versions[1])


def _age(resource: Kept) -> tuple[str, str]:
    metadata = resource["metadata"]
    return metadata["creationTimestamp"] or "~", metadata["name"]


def _json(value: object, most: int) -> bytes | None:
    """An object as JSON; empty for anything else, None if it has more bytes or cannot be written."""
    if not isinstance(value, Mapping):
        return b""
    try:
        text = to_json(value)
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= most else None


def _text(value: object) -> str:
    return value if isinstance(value, str) and _is_text(value, _MAX_VERSION) else ""


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= most and value.isascii() and value.isprintable()
