"""Objects of the cluster as specifications, and specifications as objects: what is secret stays in the Secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from elastic_inference.adapters.camera_resource.kept_objects import kept
from elastic_inference.adapters.camera_resource.resource import (
    LOGINS_SECRET,
    Stored,
    as_resource,
    read_camera,
    secret_entry,
    status_of,
)
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus

# Each character takes 12 bytes in the registry.
FAT_ZONES = [
    {
        "name": f"z-{number}",
        "points": [[0, 0], [0, 1], [1, 1]],
        "labels": ["\U0001f4f7" * 120 + str(each) for each in range(2)],
    }
    for number in range(30)
]
SECRETS = {"user": "root", "password": "s3cret!"}


def spec(**fields: Any) -> CameraSpec:
    return CameraSpec.model_validate({"name": "gate-1", "url": "rtsp://192.0.2.1/1", **fields})


def resource(**fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "gate-1", "resourceVersion": "7", "generation": 3},
        "spec": {"url": "rtsp://192.0.2.1/1", **fields},
    }


def read(resource: dict[str, Any], secrets: Mapping[str, Any]) -> Stored:
    found = kept(resource)
    assert found is not None
    return read_camera(found, secrets)


def encoded(**values: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"login": SECRETS, "types": ["people", "car"], "fps": 5, "labels": {"site": "north"}},
        {"url": "http://192.0.2.1/video?key=abc", "gate": "motion", "size": "auto", "enabled": False},
        {"url": "http://192.0.2.1/v?key=abc", "login": SECRETS, "substream": "http://192.0.2.1/s?key=def"},
    ],
)
def test_what_rest_adds_comes_back_from_the_cluster(fields: dict[str, Any]) -> None:
    wanted = spec(**fields)
    made = as_resource(wanted, "shop")
    entry = secret_entry(wanted)
    text = json.dumps(made)
    assert not any(secret in text for secret in ("s3cret!", "abc", "def"))
    stored = read(made, {LOGINS_SECRET: {"gate-1": entry} if entry else {}})
    assert (stored.spec, stored.problem, stored.by_rest) == (wanted, None, True)


def test_a_users_own_secret_holds_user_password_and_url() -> None:
    stored = read(resource(login_secret="own"), {"own": encoded(**SECRETS, url="rtsp://192.0.2.1/1?a=b")})
    assert stored.spec == spec(login=SECRETS, url="rtsp://192.0.2.1/1?a=b")
    assert (stored.secret, stored.by_rest) == ("own", False)


@pytest.mark.parametrize(
    ("fields", "secrets", "problem"),
    [
        ({"url": "ftp://x"}, {}, "spec.url: expected rtsp://host/path"),
        ({"fps": 0}, {}, "spec.fps: "),
        ({"colour": "red"}, {}, "spec.colour: Extra inputs"),
        ({"login": SECRETS}, {}, "expected neither `name` nor `login`"),
        ({"login_secret": "own"}, {"own": None}, "the Secret own is missing, or the controller may not read it"),
        ({"login_secret": "own"}, {}, "the Secret own is missing"),
        ({"login_secret": "own"}, {"own": {}}, "expected the keys user and password"),
        ({"login_secret": "own"}, {"own": {"user": "%%%"}}, "expected text in key user of the Secret own"),
        ({"login_secret": "own"}, {"own": {"user": "A" * 20000}}, "key user of the Secret own is too long"),
        ({"login_secret": "own"}, {"own": encoded(**{"gate-1": "[1]"})}, "expected a JSON object in key gate-1"),
        ({"login_secret": "own"}, {"own": encoded(**{"gate-1": "{"})}, "expected JSON in key"),
        ({"login_secret": "own"}, {"own": encoded(user="u", password="p" * 2000)}, "spec.login.password: "),
        ({"login_secret": "../secrets/own"}, {"../secrets/own": encoded(**SECRETS)}, "spec.login_secret: "),
        ({"login_secret": LOGINS_SECRET}, {LOGINS_SECRET: encoded(**SECRETS)}, "has no login of the camera gate-1"),
        ({"x" * 2000: 1}, {}, "Extra inputs"),
        ({"labels": {"a": "x" * 2_000_000}}, {}, "spec: expected at most 64 kB"),
        ({"labels": {"a": "\ud800"}}, {}, "spec: expected at most 64 kB of JSON"),
        ({"zones": FAT_ZONES}, {}, "spec: expected a camera of at most 64 kB"),
    ],
)
def test_what_cannot_be_used_says_why_and_shows_no_secret(
    fields: dict[str, Any], secrets: dict[str, Any], problem: str
) -> None:
    stored = read(resource(**fields), secrets)
    assert stored.spec is None
    assert problem in (stored.problem or "")
    assert "s3cret!" not in (stored.problem or "")
    assert len(stored.problem or "") < 1000, "it is written into the status and the log"


@pytest.mark.parametrize("fields", [None, "text", 7, [], {"url": 5}, {"url": None}])
def test_an_object_of_another_shape_is_a_problem_not_an_exception(fields: Any) -> None:
    stored = read({"metadata": {"name": "gate-1"}, "spec": fields}, {})
    assert (stored.spec, bool(stored.problem)) == (None, True)


def stored_with(status: dict[str, Any] | None = None, **fields: Any) -> Stored:
    return read({**resource(**fields), "status": status}, {})


def test_a_live_camera_has_only_true_conditions() -> None:
    fields = status_of(stored_with(), CameraStatus(CameraState.LIVE, worker="w-1", fps=14.6), "2026-01-01T00:00:00Z")
    assert (fields["state"], fields["worker"], fields["fps"], fields["observedGeneration"]) == ("live", "w-1", 15, 3)
    assert {each["type"]: each["status"] for each in fields["conditions"]} == {
        "Valid": "True",
        "Assigned": "True",
        "Live": "True",
        "Served": "True",
    }


def test_a_type_without_a_pod_is_a_condition_of_its_own() -> None:
    status = CameraStatus(CameraState.LIVE, worker="w-1", waiting_types=("car",))
    conditions = {each["type"]: each for each in status_of(stored_with(), status, "2026-01-01T00:00:00Z")["conditions"]}
    assert conditions["Live"]["status"] == "True"
    assert (conditions["Served"]["status"], conditions["Served"]["reason"]) == ("False", "NoPod")
    assert conditions["Served"]["message"] == "No inference pod serves the type car now: its frames wait for one."


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    first = status_of(stored_with(), CameraStatus(CameraState.LIVE, worker="w-1"), "2026-01-01T00:00:00Z")
    status = CameraStatus(CameraState.STALLED, worker="w-1", reason="No data for 5 s.")
    second = status_of(stored_with(first), status, "2026-01-01T00:00:09Z")
    times = {each["type"]: each["lastTransitionTime"] for each in second["conditions"]}
    assert times == {
        "Valid": "2026-01-01T00:00:00Z",
        "Assigned": "2026-01-01T00:00:00Z",
        "Live": "2026-01-01T00:00:09Z",
        "Served": "2026-01-01T00:00:00Z",
    }
    assert second["conditions"][2]["message"] == "No data for 5 s."


def test_a_camera_that_cannot_be_used_is_not_valid_and_says_why() -> None:
    fields = status_of(stored_with(fps=0), CameraStatus(CameraState.UNASSIGNED), "2026-01-01T00:00:00Z")
    valid = fields["conditions"][0]
    assert (valid["type"], valid["status"]) == ("Valid", "False")
    assert "spec.fps" in valid["message"]


@pytest.mark.parametrize("conditions", [None, 5, [3], [{"type": "Live"}], {"type": "Live"}])
def test_a_status_that_somebody_else_wrote_does_no_harm(conditions: Any) -> None:
    fields = status_of(stored_with({"conditions": conditions}), CameraStatus(CameraState.LIVE), "2026-01-01T00:00:00Z")
    assert {each["lastTransitionTime"] for each in fields["conditions"]} == {"2026-01-01T00:00:00Z"}
