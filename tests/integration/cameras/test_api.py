"""The API of cameras: a real gateway, housekeeping as a process with its file, and a real Valkey."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from elastic_inference.adapters.camera_registry import state
from elastic_inference.adapters.camera_registry.camera_file import parse
from elastic_inference.adapters.camera_registry.camera_values import status_value
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec, CameraState, CameraStatus
from tests.support.gateway import Answer, RunningGateway, first_event
from tests.support.openapi import check, check_schema
from tests.support.redis_logins import PASSWORDS, server_with_users
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

BOSS, NORTH, WALL = "the-token-of-the-boss", "the-token-of-the-north", "the-token-of-the-wall"
TOKENS = [
    {"name": "boss", "role": "admin", "token": BOSS},
    {"name": "north", "role": "admin", "token": NORTH, "cameras": ["north-*"]},
    {"name": "wall", "role": "viewer", "token": WALL, "cameras": ["*"]},
]
ALL, ONE, PROBE = "/api/cameras", "/api/cameras/{name}", "/api/cameras/probe"
GATE: dict[str, Any] = {
    "name": "gate",
    "url": "http://10.0.0.8/v?key=k1",
    "login": {"user": "viewer", "password": "se cret"},
    "labels": {"site": "north"},
}


class Api:
    """The gateway with the boss's token, checking each answer against the API's description."""

    def __init__(self, gateway: RunningGateway, path: Path) -> None:
        self.gateway = gateway
        self.path = path

    def ask(self, path: str, method: str = "GET", body: Any = None, token: str = BOSS, **headers: str) -> Answer:
        answer = self.gateway.ask(path, method, body, Authorization=f"Bearer {token}", **headers)
        assert b"se cret" not in answer.body
        assert b"k1" not in answer.body
        described = path if path in (ALL, PROBE) else ONE
        return answer if answer.status == 204 else check(answer, described, method.lower())

    def saved(self) -> dict[str, CameraSpec]:
        return parse(self.path.read_bytes()) if self.path.exists() else {}


def login(user: str) -> dict[str, str]:
    return {"QUEUE_USERNAME": user, "QUEUE_PASSWORD": PASSWORDS[user]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with server_with_users(tmp_path_factory.mktemp("acl") / "users.acl") as found:
        yield found


@pytest.fixture(scope="module")
def api(server: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("site")
    path = folder / "cameras.yaml"
    tokens = folder / "tokens.json"
    tokens.write_text(json.dumps({"tokens": TOKENS}))
    environ = {"QUEUE_URL": server.url, "CAMERAS_FILE": str(path), **login("housekeeping")}
    housekeeping = ServiceProcess("housekeeping", environ, folder, "housekeeping").start()
    try:
        housekeeping.wait_ready()
        with RunningGateway(server.url, GATEWAY_TOKENS_FILE=str(tokens), **login("gateway")) as gateway:
            found = Api(gateway, path)
            wait_for(lambda: found.ask(ALL).json["problem"] is None, 20, "the owner")
            yield found
    finally:
        housekeeping.kill()


@pytest.fixture(autouse=True)
def no_cameras(api: Api) -> None:
    for camera in api.ask(ALL).json["cameras"]:
        assert api.ask(f"{ALL}/{camera['name']}", "DELETE").status == 204


def test_a_camera_is_added_changed_and_removed(api: Api) -> None:
    added = api.ask(ALL, "POST", GATE)
    assert added.status == 201
    assert added.headers["Location"] == "/api/cameras/gate"
    document = added.json
    assert document["spec"]["url"] == "http://10.0.0.8/v?key=***"
    assert "login" not in document["spec"]
    assert document["has_login"]
    login = api.saved()["gate"].login
    assert login is not None
    assert login.password.get_secret_value() == "se cret"
    assert (api.path.stat().st_mode & 0o777) == 0o600

    shown = api.ask(f"{ALL}/gate")
    assert shown.headers["ETag"] == added.headers["ETag"] == f'"{document["revision"]}"'
    replaced = api.ask(f"{ALL}/gate", "PUT", shown.json["spec"] | {"fps": 5}, If_Match=shown.headers["ETag"])
    assert replaced.status == 200
    assert (replaced.json["spec"]["fps"], replaced.json["has_login"]) == (5, True)
    assert api.saved()["gate"].url == GATE["url"], "what is hidden stays"
    stale = api.ask(f"{ALL}/gate", "PATCH", {"fps": 6}, If_Match=shown.headers["ETag"])
    assert (stale.status, stale.code) == (412, "precondition_failed")
    assert api.ask(f"{ALL}/gate", "DELETE", If_Match='"1"').status == 412
    patched = api.ask(f"{ALL}/gate", "PATCH", {"login": None, "labels": {"floor": "1"}})
    assert (patched.json["has_login"], patched.json["spec"]["labels"]) == (False, {"site": "north", "floor": "1"})
    assert api.ask(ALL).json["cameras"][0]["revision"] == patched.json["revision"]
    assert api.ask(f"{ALL}/gate", "DELETE", If_Match=patched.headers["ETag"]).status == 204
    assert api.ask(ALL).json == {"cameras": [], "problem": None}
    assert api.ask(f"{ALL}/gate").status == 404
    assert api.ask(f"{ALL}/gate", "DELETE").status == 404
    assert api.saved() == {}


def test_what_is_wrong_is_named(api: Api) -> None:
    wrong = api.ask(ALL, "POST", {"name": "gate", "url": "rtsp://u:p@a", "fps": "fast", "zoom": 1})
    assert (wrong.status, wrong.code) == (400, "bad_request")
    fields = wrong.json["error"]["fields"]
    assert set(fields) == {"url", "fps", "zoom"}
    assert fields["fps"] == "Expected a number."
    assert api.ask(ALL, "POST", GATE).status == 201
    half = api.ask(ALL, "POST", GATE | {"name": "till", "login": {"user": "viewer", "password": "\ud800"}})
    assert half.json["error"]["fields"] == {"login.password": "Expected a text in UTF-8."}
    again = api.ask(ALL, "POST", GATE)
    assert (again.status, again.code) == (409, "conflict")
    moved = api.ask(f"{ALL}/gate", "PATCH", {"url": "http://10.9.9.9/v"})
    assert list(moved.json["error"]["fields"]) == ["login"]
    assert list(api.ask(f"{ALL}/gate", "PATCH", {"types": []}).json["error"]["fields"]) == ["types"]
    for body in (b"", b"[]", b"{", b"[" * 5000, b"\xff"):
        assert api.ask(ALL, "POST", body).status == 400
    assert api.ask(f"{ALL}/gate", "PATCH", {"labels": {"a": "x" * 20_000}}).status == 400, "over the body's limit"
    for name in ("no%20name", "x" * 200):
        assert api.ask(f"{ALL}/{name}", "PUT", GATE).status == 404


def test_viewers_and_pages_of_other_sites_are_refused(api: Api) -> None:
    for path, method in ((ALL, "GET"), (ALL, "POST"), (f"{ALL}/gate", "GET"), (f"{ALL}/gate", "DELETE")):
        assert api.ask(path, method, GATE, token=WALL).status == 403
    assert api.ask(PROBE, "POST", {"url": "rtsp://10.0.0.7"}, token=WALL).status == 403
    for path, method in ((ALL, "POST"), (f"{ALL}/gate", "PUT"), (f"{ALL}/gate", "DELETE"), (PROBE, "POST")):
        assert api.ask(path, method, GATE, Origin="https://evil.example").status == 403
    assert api.ask(ALL, "POST", GATE, token="x" * 20).status == 401
    assert api.saved() == {}
    assert api.ask(f"{ALL}/gate").status == 404


def test_an_admin_of_some_cameras_sees_and_changes_those(api: Api) -> None:
    assert api.ask(ALL, "POST", GATE).status == 201
    assert api.ask(ALL, "POST", {"name": "south-1", "url": "rtsp://10.0.0.7"}, token=NORTH).status == 403
    assert api.ask(ALL, "POST", {"name": "north-1", "url": "rtsp://10.0.0.7"}, token=NORTH).status == 201
    assert [each["name"] for each in api.ask(ALL, token=NORTH).json["cameras"]] == ["north-1"]
    for method in ("GET", "PATCH", "DELETE"):
        assert api.ask(f"{ALL}/gate", method, {}, token=NORTH).status == 404


def test_a_change_of_the_file_and_of_the_state_comes_as_an_event(api: Api, server: EmbeddedValkey) -> None:
    with api.gateway.events(Authorization=f"Bearer {BOSS}") as events:
        first_event(events, "cameras", lambda document: not document["cameras"])
        api.path.write_text(
            "cameras:\n- {name: gate, url: 'rtsp://10.0.0.7'}\n- {name: yard, url: 'rtsp://10.0.0.7', enabled: false}\n"
        )
        found = first_event(events, "cameras", lambda document: len(document["cameras"]) == 2)
        check_schema(found, "Cameras")
        gate, yard = (each["status"] for each in found["cameras"])
        assert (gate["state"], gate["reason"]) == ("unassigned", state.NO_WORKER)
        assert yard["state"] == "paused"
        with redis.Redis(port=server.port, username="admin", password=PASSWORDS["admin"]) as client:
            now_us = int(client.time()[0]) * 1_000_000
            client.hset(keys.lease_workers("cameras"), "pod-1:ab", f"{now_us} 2 0.1 0 10000000 0.15 1")
            client.hset(keys.leases("cameras"), "gate", "5 pod-1:ab 0.15 0 0 - 0")
            status = CameraStatus(CameraState.LIVE, worker="pod-1", fps=15.0)
            client.hset(keys.CAMERA_STATUS, "gate", status_value(status))
        live = first_event(events, "cameras", lambda document: document["cameras"][0]["status"]["state"] == "live")
        assert live["cameras"][0]["status"]["worker"] == "pod-1"
    with api.gateway.events(Authorization=f"Bearer {WALL}") as events:
        kinds = {kind for kind, _ in (next(events) for _ in range(3))}
        assert "cameras" not in kinds


def test_a_type_that_no_pod_serves_is_said_until_a_pod_comes(api: Api, server: EmbeddedValkey) -> None:
    assert api.ask(ALL, "POST", GATE | {"types": ["car"]}).status == 201

    def status() -> dict[str, Any]:
        found: dict[str, Any] = api.ask(f"{ALL}/gate").json["status"]
        return found

    with redis.Redis(port=server.port, username="admin", password=PASSWORDS["admin"]) as client:
        now_us = int(client.time()[0]) * 1_000_000
        client.hset(keys.lease_workers("cameras"), "pod-1:ab", f"{now_us} 2 0.1 0 30000000 0.15 1")
        client.hset(keys.leases("cameras"), "gate", "5 pod-1:ab 0.15 0 0 - 0")
        live = status_value(CameraStatus(CameraState.LIVE, worker="pod-1", fps=15.0))
        client.hset(keys.CAMERA_STATUS, "gate", live)
        wait_for(lambda: status()["state"] == "live", 20, "the camera")
        assert status()["waiting_types"] == ["car"]
        assert status()["reason"] == "No inference pod serves the type car now: its frames wait for one."
        pod = ResultPublisher(client, "car", "pod-9", 100)
        pod.report_worker(1, 0, 0, capacity_fps=20.0, device="CPU", model="m", precision="FP32")
        began = time.monotonic()
        wait_for(lambda: not status()["waiting_types"], 20, "the pod to be seen")
        # A look is at most 2 s old.
        assert time.monotonic() - began < 8
        assert status()["reason"] is None
        pod.remove_worker()
        client.delete(keys.lease_workers("cameras"), keys.leases("cameras"))


def test_a_broken_file_is_shown_and_refuses_changes(api: Api) -> None:
    assert api.ask(ALL, "POST", GATE).status == 201
    good = api.path.read_bytes()
    api.path.write_bytes(good + b"- name: other\n  url: 7\n")
    wait_for(lambda: api.ask(ALL).json["problem"], 20, "the problem")
    found = api.ask(ALL).json
    assert "line 11: camera other, url: expected a text" in found["problem"]
    assert [each["name"] for each in found["cameras"]] == ["gate"]
    assert api.ask(f"{ALL}/gate", "PATCH", {"fps": 3}).status == 409
    api.path.write_bytes(good)
    wait_for(lambda: api.ask(ALL).json["problem"] is None, 20, "the mended file")


def test_a_gateway_without_the_rights_says_what_to_do_and_shows_the_rest(api: Api, server: EmbeddedValkey) -> None:
    with RunningGateway(server.url, **login("viewer")) as former:
        for method, body in (("GET", None), ("POST", GATE)):
            refused = former.ask(ALL, method, body)
            assert (refused.status, "user `gateway`" in refused.json["error"]["message"]) == (503, True)
        assert former.ask("/api/streams").status == 200
        with former.events() as events:
            assert {next(events)[0] for _ in range(3)} == {"hello", "streams", "stats"}
    assert api.saved() == {}


def test_without_an_answer_a_probe_says_whether_a_source_worker_runs(
    api: Api, server: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.adapters.camera_registry.requests.ANSWER_LIMIT_S", 1.0)
    monkeypatch.setattr("elastic_inference.flows.gateway.cameras.FRESH_S", 0.0)
    assert list(api.ask(PROBE, "POST", {"url": "rtsp://u:p@a"}).json["error"]["fields"]) == ["url"]
    workers = keys.lease_workers("cameras")
    with redis.Redis(port=server.port, username="admin", password=PASSWORDS["admin"]) as client:
        client.delete(workers)
        nobody = api.ask(PROBE, "POST", {"url": "rtsp://10.0.0.7"})
        assert (nobody.status, nobody.json["error"]["message"]) == (503, state.NO_WORKER)
        client.hset(workers, "pod-1:ab", f"{int(client.time()[0]) * 1_000_000} 2 0.1 0 60000000 0.15 1")
        silent = api.ask(PROBE, "POST", {"url": "rtsp://10.0.0.7"})
        client.delete(workers)
    assert (silent.status, "none of them has answered" in silent.json["error"]["message"]) == (503, True)
