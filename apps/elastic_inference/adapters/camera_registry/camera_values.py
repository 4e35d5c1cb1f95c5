"""Builds and parses the values in the registry. Parsing treats them as input from outside.

No function that reads raises an error: invalid values become None.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from elastic_inference.domain import keys
from elastic_inference.domain.camera import MAX_CAMERAS, CameraSpec, CameraState, CameraStatus

# The maximum of one value or request.
MAX_BYTES = 64 * 1024
MAX_REVISION = 2**53
# In CPU seconds a second: more than any machine has.
MAX_COST = 4096.0
_STATUS: TypeAdapter[CameraStatus] = TypeAdapter(CameraStatus)
_REASON_CHARACTERS = 500
# Maximum number of fields in a hash: twice the maximum number of cameras, and some marks.
MAX_FIELDS = 2 * MAX_CAMERAS + 16
# Maximum bytes per field: a status with its longest reason in JSON, or a lease.
_SPARE_BYTES, _ROW_BYTES = 256 * 1024, 4096
_STATUS_NUMBERS = ("fps", "cost", "width", "height", "reconnects", "since_ms", "frame_ms")


@dataclass(frozen=True, slots=True)
class RegisteredCamera:
    """A camera as everybody may see it: `spec` has no login and no values in its URLs' queries."""

    revision: int
    spec: CameraSpec
    has_login: bool = False


@dataclass(frozen=True, slots=True)
class CompleteCamera:
    """A camera with its login and full URLs: for source workers and the owner."""

    revision: int
    spec: CameraSpec


def spec_value(camera: CompleteCamera) -> bytes:
    """The value in `{cameras}:specs`."""
    public = camera.spec.public().model_dump(mode="json", exclude={"login"}, exclude_none=True)
    document = {"revision": camera.revision, "has_login": camera.spec.login is not None, "spec": public}
    return json.dumps(document, separators=(",", ":")).encode()


def too_large(spec: CameraSpec) -> str:
    """Why the registry cannot hold a camera, whose value nobody would read; empty if it can."""
    whole = CompleteCamera(MAX_REVISION, spec)
    if max(len(spec_value(whole)), len(secrets_value(whole) or b"")) <= MAX_BYTES:
        return ""
    return f"expected a camera of at most {MAX_BYTES // 1024} kB of JSON, with its labels, zones and lines"


def secrets_value(camera: CompleteCamera) -> bytes | None:
    """The value in `{cameras}:secrets`; None if there is nothing to keep secret."""
    spec, public = camera.spec, camera.spec.public()
    found: dict[str, Any] = {}
    if spec.login is not None:
        found |= {"user": spec.login.user, "password": spec.login.password.get_secret_value()}
    if spec.url != public.url:
        found["url"] = spec.url
    if spec.substream != public.substream:
        found["substream"] = spec.substream
    return json.dumps({"revision": camera.revision, **found}, separators=(",", ":")).encode() if found else None


def wanted_value(revision: int, cost: float, known: bool = False) -> bytes:
    """The value in `{cameras}:wanted`. Without `known`, the cost is the first estimate, which leases may replace."""
    return b"%d %s%.4f" % (revision, b"+" if known else b"", cost)


def status_value(status: CameraStatus) -> bytes:
    """The value in `{cameras}:status`."""
    reason = status.reason and text_of(status.reason, _REASON_CHARACTERS)
    return _STATUS.dump_json(status if reason == status.reason else replace(status, reason=reason))


def read_spec(name: str, raw: object) -> RegisteredCamera | None:
    """Parses a `spec_value`. Ignores fields that a newer version may have added."""
    found = read_object(raw)
    revision, spec = found.get("revision"), found.get("spec")
    if not _is_revision(revision) or not isinstance(spec, dict):
        return None
    known = {field: value for field, value in spec.items() if field in CameraSpec.model_fields and field != "login"}
    try:
        read = CameraSpec.model_validate(known | {"name": name})
    except (ValidationError, RecursionError):
        return None
    return RegisteredCamera(int(str(revision)), read, found.get("has_login") is True)


def complete(camera: RegisteredCamera, raw_secrets: object) -> CompleteCamera | None:
    """Adds a `secrets_value` to a camera. None if the two are of different revisions: then read both again."""
    secrets = read_object(raw_secrets)
    if not secrets:
        hidden = camera.has_login or any("=***" in (url or "").partition("?")[2] for url in _urls(camera.spec))
        return None if hidden else CompleteCamera(camera.revision, camera.spec)
    if secrets.get("revision") != camera.revision:
        return None
    changes: dict[str, Any] = {name: secrets[name] for name in ("url", "substream") if name in secrets}
    if "user" in secrets:
        changes["login"] = {"user": secrets["user"], "password": secrets.get("password", "")}
    try:
        spec = CameraSpec.model_validate(camera.spec.model_dump(exclude={"login"}) | changes)
    except (ValidationError, RecursionError):
        return None
    return CompleteCamera(camera.revision, spec)


def _urls(spec: CameraSpec) -> tuple[str | None, str | None]:
    return spec.url, spec.substream


def read_wanted(raw: object) -> tuple[int, float] | None:
    """Parses a `wanted_value`: (revision, cost)."""
    parts = raw.split(b" ") if isinstance(raw, bytes) and len(raw) <= 64 else []
    if len(parts) != 2 or not parts[0].isdigit() or int(parts[0]) > MAX_REVISION:
        return None
    try:
        cost = float(parts[1])
    except ValueError:
        return None
    return (int(parts[0]), cost) if math.isfinite(cost) and 0 <= cost <= MAX_COST else None


def read_status(raw: object) -> CameraStatus | None:
    """Parses a `status_value`. Invalid numbers become 0 or None, and long texts are cut."""
    found = read_object(raw)
    try:
        state = CameraState(str(found.get("state")))
    except ValueError:
        return None
    status = CameraStatus(state)
    reason, worker = found.get("reason"), found.get("worker")
    if isinstance(reason, str) and reason:
        status.reason = text_of(reason, _REASON_CHARACTERS)
    if isinstance(worker, str) and keys.is_name(worker):
        status.worker = worker
    for name in _STATUS_NUMBERS:
        value = found.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1e15:
            whole = name in ("width", "height", "reconnects")
            setattr(status, name, int(value) if whole else float(value))
    return status


def readable(fields: object, used: object) -> bool:
    """Whether a hash that workers write is small enough to read, by its number of fields and its `MEMORY USAGE`.

    Our services do not write larger ones; reading one could take all memory.
    """
    count = fields if isinstance(fields, int) else 0
    return 0 < count <= MAX_FIELDS and not (isinstance(used, int) and used > _SPARE_BYTES + count * _ROW_BYTES)


def read_object(raw: object, maximum: int = MAX_BYTES) -> dict[str, Any]:
    """A JSON object of at most `maximum` bytes; empty for anything else."""
    if not isinstance(raw, bytes) or len(raw) > maximum:
        return {}
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def text_of(text: str, characters: int) -> str:
    """At most `characters` characters, without lone surrogates: JSON may hold them, but UTF-8 can't."""
    return text[:characters].encode(errors="replace").decode()


def _is_revision(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_REVISION
