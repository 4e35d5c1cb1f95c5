"""Converts a Kubernetes `Camera` and its Secret to a `CameraSpec`, and back. Pure; called by `kubernetes_store`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from elastic_inference.adapters.camera_registry.camera_values import too_large
from elastic_inference.adapters.camera_registry.state import waits_for_pods
from elastic_inference.adapters.camera_resource.kept_objects import MANAGED_BY
from elastic_inference.adapters.camera_resource.schema import GROUP, KIND, NOT_IN_THE_RESOURCE, VERSION
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus

CONTROLLER = "ei-camera-controller"
# The only Secret that the controller writes: one key for each camera that was added by REST.
LOGINS_SECRET = "ei-camera-logins"  # noqa: S105  an object's name
MAX_SECRET_VALUE = 16384
# Names of objects: RFC 1123.
OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,126}[a-z0-9])?")
SECRET_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
NAME_RULE = "expected lower-case letters, digits, '-' and '.', since the camera becomes a Kubernetes object"
_MAX_WORDS = 300
_LIVE = (CameraState.LIVE, CameraState.QUIET)
_NOT_ASSIGNED = (CameraState.UNASSIGNED, CameraState.PAUSED)


@dataclass(frozen=True, slots=True)
class Stored:
    """One `Camera` as the cluster holds it. `spec` is None if it cannot be used, and `problem` says why."""

    name: str
    spec: CameraSpec | None
    problem: str | None
    secret: str | None
    resource_version: str
    generation: int
    by_rest: bool
    status: Mapping[str, Any]


def read_camera(resource: Mapping[str, Any], secrets: Mapping[str, Mapping[str, str] | None]) -> Stored:
    """What is kept of an object (`kept`), as a specification.

    `secrets` holds the data of each Secret that a camera names, None for one that is missing or forbidden.
    """
    metadata = resource["metadata"]
    name = metadata["name"]
    fields = from_json(resource["spec"])
    secret = fields.get("login_secret")
    secret = secret if isinstance(secret, str) and SECRET_NAME.fullmatch(secret) else None
    spec, problem = None, resource["problem"]
    try:
        if problem is not None:
            raise ValueError(problem)
        if any(each in fields for each in NOT_IN_THE_RESOURCE):
            raise ValueError(
                "spec: expected neither `name` nor `login`: the name is the object's, and the login is in a Secret"
            )
        if secret is not None:
            fields |= _from_secret(name, secret, secrets.get(secret))
            del fields["login_secret"]
        spec = CameraSpec.model_validate({**fields, "name": name})
        if problem := too_large(spec):
            raise ValueError(f"spec: {problem}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))[:_MAX_WORDS]  # names that somebody has made up
        problem = f"spec.{where}: {first['msg'].removeprefix('Value error, ')[:_MAX_WORDS]}"
    except ValueError as error:
        spec, problem = None, str(error)
    by_rest = metadata["labels"].get(MANAGED_BY) == CONTROLLER
    version, generation = metadata["resourceVersion"], metadata["generation"]
    return Stored(name, spec, problem or None, secret, version, generation, by_rest, resource["status"])


def _from_secret(name: str, secret: str, data: Mapping[str, str] | None) -> dict[str, Any]:
    """`login`, and the full `url` and `substream`, as far as the Secret has them. Raises ValueError.

    Its key `<camera>` holds them as JSON; without that key, its keys `user`, `password` and `url` are used.
    """
    if data is None:
        raise ValueError(f"login_secret: the Secret {secret} is missing, or the controller may not read it")
    if name in data:
        try:
            found = from_json(_decoded(secret, name, data[name]))
        except ValueError:
            raise ValueError(f"login_secret: expected JSON in key {name} of the Secret {secret}") from None
        if not isinstance(found, dict):
            raise ValueError(f"login_secret: expected a JSON object in key {name} of the Secret {secret}")
    elif secret == LOGINS_SECRET:
        # Its other keys are other cameras' logins, even one that is called `password`.
        raise ValueError(f"login_secret: the Secret {secret} has no login of the camera {name}")
    else:
        keys = ("user", "password", "url", "substream")
        found = {key: _decoded(secret, key, data[key]).decode() for key in keys if key in data}
    fields = {key: found[key] for key in ("url", "substream") if isinstance(found.get(key), str)}
    if "user" in found or "password" in found:
        fields["login"] = {"user": found.get("user", ""), "password": found.get("password", "")}
    if not fields:
        raise ValueError(f"login_secret: expected the keys user and password in the Secret {secret}")
    return fields


def _decoded(secret: str, key: str, value: str) -> bytes:
    if len(value) > MAX_SECRET_VALUE:
        raise ValueError(f"login_secret: key {key} of the Secret {secret} is too long")
    try:
        decoded = base64.b64decode(value, validate=True)
        decoded.decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError(f"login_secret: expected text in key {key} of the Secret {secret}") from None
    return decoded


def as_resource(spec: CameraSpec, namespace: str) -> dict[str, Any]:
    """The object for a camera that was added by REST, without its secrets."""
    fields = spec.public().model_dump(mode="json", exclude_defaults=True, exclude={"name", "login", "login_secret"})
    fields["types"] = list(spec.types)  # a column of `kubectl get cameras`
    if secret_entry(spec) is not None:
        fields["login_secret"] = LOGINS_SECRET
    elif spec.login_secret is not None:
        fields["login_secret"] = spec.login_secret
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": spec.name,
            "namespace": namespace,
            "labels": {MANAGED_BY: CONTROLLER, "app.kubernetes.io/part-of": "elastic-inference"},
        },
        "spec": fields,
    }


def secret_entry(spec: CameraSpec) -> str | None:
    """The value of a camera's key in `LOGINS_SECRET`, base64; None if it has no secret."""
    public, found = spec.public(), {}
    if spec.login is not None:
        found = {"user": spec.login.user, "password": spec.login.password.get_secret_value()}
    if spec.url != public.url:
        found["url"] = spec.url
    if spec.substream is not None and spec.substream != public.substream:
        found["substream"] = spec.substream
    return base64.b64encode(to_json(found)).decode() if found else None


def _served(status: CameraStatus) -> tuple[str, str]:
    """(reason, message) of the condition that says whether each inference type has a pod."""
    return ("NoPod", waits_for_pods(status.waiting_types)) if status.waiting_types else ("Served", "")


def status_of(stored: Stored, status: CameraStatus, now: str) -> dict[str, Any]:
    """The object's `status`; `now` is a time as Kubernetes writes it. Conditions keep the time of their last change."""
    reason = stored.problem or status.reason
    fields: dict[str, Any] = {"state": status.state.value, "fps": round(status.fps), "reason": reason}
    fields |= {"worker": status.worker, "observedGeneration": stored.generation}
    before = stored.status.get("conditions")
    conditions_before = before if isinstance(before, list) else []
    known = {str(each.get("type")): each for each in conditions_before if isinstance(each, Mapping)}
    conditions = []
    state = "".join(part.capitalize() for part in status.state.value.split("_"))
    for kind, holds, cause, words in (
        ("Valid", stored.problem is None, state, reason),
        ("Assigned", status.state not in _NOT_ASSIGNED and status.worker is not None, state, reason),
        ("Live", status.state in _LIVE, state, reason),
        ("Served", not status.waiting_types, *_served(status)),
    ):
        value = "True" if holds else "False"
        condition = {
            "type": kind,
            "status": value,
            "reason": cause,
            "message": (words or "") if not holds else "",
            "lastTransitionTime": now,
        }
        old = known.get(kind)
        if old is not None and old.get("status") == value and isinstance(old.get("lastTransitionTime"), str):
            condition["lastTransitionTime"] = old["lastTransitionTime"]
        conditions.append(condition)
    return {**fields, "conditions": conditions}
