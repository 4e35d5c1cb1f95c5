"""Cameras of the pool on a real cluster: applied as objects and added by REST."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import OWN_TYPE, PATIENCE_S, Installation
from tests.support.mjpeg_server import MjpegServer
from tests.support.waiting import TIME_FACTOR, busy, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2700)]
USER, PASSWORD = "root", "s3cret-of-the-camera"
# From `kubectl apply` to the first result, on a machine that has nothing else to do.
LIVE_S = 5.0


@pytest.fixture
def server(installed: Installation) -> Iterator[MjpegServer]:
    """A camera server of this machine that the pods reach, with a login."""
    with MjpegServer(
        host=installed.here, fps=5, auth="digest", user=USER, password=PASSWORD, image=installed.jpeg
    ) as running:
        yield running


def camera(installed: Installation, name: str) -> dict[str, Any]:
    """The status of the object `name`."""
    found: dict[str, Any] = installed.kubectl.get("camera", name).get("status", {})
    return found


def rest(
    installed: Installation, path: str, method: str = "GET", document: object = None
) -> tuple[int, dict[str, Any]]:
    status, body, _ = installed.http(path, method=method, document=document)
    return status, json.loads(body) if body else {}


def live(installed: Installation, name: str) -> bool:
    return camera(installed, name).get("state") == "live"


def test_a_camera_that_is_applied_is_live_within_seconds(installed: Installation, server: MjpegServer) -> None:
    file = installed.folder / "gate-7.yaml"
    url = server.url.replace("://", f"://{USER}:{PASSWORD}@")
    installed.generate("-n", "gate-7", "-c", url, "-t", OWN_TYPE, "-o", str(file))
    began = time.monotonic()
    installed.apply(file)
    stream = f"gate-7:{OWN_TYPE}:inferred"
    with installed.watcher(stream) as viewer:
        flowing = viewer.wait_flowing(PATIENCE_S, "results of the applied camera", count=1)
    print(f"\nkubectl apply to the first result: {flowing - began:.1f} s")
    wait_for(lambda: live(installed, "gate-7"), 20, "the object to say that its camera is live")
    table = installed.kubectl.run("get", "cameras")
    print(table)
    assert table.splitlines()[0].split() == ["NAME", "URL", "TYPES", "STATE", "FPS", "WORKER", "AGE"]
    assert PASSWORD not in table + installed.kubectl.run("get", "camera", "gate-7", "-o", "yaml")
    assert {each["type"]: each["status"] for each in camera(installed, "gate-7")["conditions"]} == {
        "Valid": "True",
        "Assigned": "True",
        "Live": "True",
        "Served": "True",
    }
    assert flowing - began < LIVE_S * TIME_FACTOR * busy()
    wait_for(lambda: camera(installed, "gate-7").get("fps"), 20, "the object to say the camera's rate")
    # A camera that was applied as an object is changed there.
    status, answer = rest(installed, "/api/cameras/gate-7", "PATCH", {"fps": 1})
    assert (status, "kubectl edit camera gate-7" in answer["error"]["message"]) == (409, True)
    installed.remove(file)
    wait_for(lambda: rest(installed, "/api/cameras/gate-7")[0] == 404, 20, "the pool to forget the camera")


def test_a_camera_that_is_added_by_rest_becomes_an_object(installed: Installation, server: MjpegServer) -> None:
    wanted = {
        "name": "gate-8",
        "url": server.url,
        "types": [OWN_TYPE],
        "login": {"user": USER, "password": PASSWORD},
    }
    status, added = rest(installed, "/api/cameras", "POST", wanted)
    assert status == 201, added
    assert PASSWORD not in json.dumps(added)
    wait_for(lambda: live(installed, "gate-8"), PATIENCE_S, "the added camera to be live")
    assert rest(installed, "/api/cameras", "POST", wanted)[0] == 409
    assert PASSWORD not in installed.kubectl.run("get", "camera", "gate-8", "-o", "yaml")
    status, changed = rest(installed, "/api/cameras/gate-8", "PATCH", {"enabled": False})
    assert (status, changed["has_login"]) == (200, True), changed
    wait_for(lambda: camera(installed, "gate-8").get("state") == "paused", 20, "the camera to be paused")
    assert rest(installed, "/api/cameras/gate-8", "DELETE")[0] == 204
    wait_for(lambda: "gate-8" not in installed.kubectl.run("get", "cameras"), 20, "the object to be gone")
    secret = installed.kubectl.get("secret", "ei-camera-logins")
    assert "gate-8" not in (secret.get("data") or {})


def test_a_login_that_is_missing_is_said_by_the_object(installed: Installation, server: MjpegServer) -> None:
    made = {
        "apiVersion": "elastic-inference.io/v1",
        "kind": "Camera",
        "metadata": {"name": "gate-9"},
        "spec": {"url": server.url, "types": [OWN_TYPE], "login_secret": "nowhere"},
    }
    installed.kubectl.run("apply", "-f", "-", stdin=json.dumps(made))
    try:
        wait_for(
            lambda: "Secret nowhere" in (camera(installed, "gate-9").get("reason") or ""),
            30,
            "the object to say what is missing",
        )
    finally:
        installed.kubectl.run("delete", "camera", "gate-9")
