"""Each sentence of doc/security_dashboard.md about a login, tried with real tokens, cookies and connections."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from elastic_inference.adapters.camera_registry.camera_values import CompleteCamera, spec_value
from elastic_inference.base.lifecycle import HealthServer
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_changes import patched
from elastic_inference.domain.camera_errors import CameraRefusal
from elastic_inference.domain.result import parse_result
from elastic_inference.flows.gateway import api, handlers
from elastic_inference.flows.gateway import events as gateway_events
from tests.support.gateway import Answer, Pool, RunningGateway, first_event
from tests.support.openapi import OPENAPI
from tests.support.sentences import Tries
from tests.support.system import ServiceProcess
from tests.support.viewer import connect_patiently as connect
from tests.support.waiting import wait_for
from tests.support.websocket_server import Relay

SERVICE, CHIEF, YARD, WALL = "the-token-of-service", "the-token-of-chief", "the-token-of-yard", "the-token-of-wall"
LOBBY = "the-token-of-lobby"
TOKENS = [
    {"name": "chief", "role": "admin", "token": CHIEF},
    {"name": "yard", "role": "admin", "token": YARD, "cameras": ["yard-*"]},
    {"name": "wall", "role": "viewer", "token": WALL, "cameras": ["gate-*"]},
    {"name": "lobby", "role": "viewer", "token": LOBBY, "cameras": ["*"]},
]
CAMERA_CHANGES = (
    *(("/api/cameras", "POST"), ("/api/cameras/probe", "POST")),
    *(("/api/cameras/gate", method) for method in ("PUT", "PATCH", "DELETE")),
)
OPEN = {"/api/session", "/api/login", "/api/logout"}

tries = Tries(
    *("a stranger", "an admin", "an admin with cameras", "a viewer", "a removed token", "a page of another site")
)


class Site:
    """A gateway with all kinds of tokens, and two cameras of which the viewer may see one."""

    def __init__(
        self,
        gateway: RunningGateway,
        file: Path,
        pools: tuple[Pool, Pool],
        patch: pytest.MonkeyPatch,
        server: EmbeddedValkey,
    ) -> None:
        self.server = server
        self.gateway = gateway
        self.file = file
        self.mine, self.other = pools
        self.patch = patch

    def ask(self, path: str, token: str = "", method: str = "GET", **headers: str) -> Answer:
        login = {"Authorization": f"Bearer {token}"} if token else {}
        return self.gateway.ask(path, method, {} if method != "GET" else None, **login, **headers)

    def change(self, token: str, path: str, method: str, body: Any, **headers: str) -> int:
        login = {"Authorization": f"Bearer {token}"} if token else {}
        return self.gateway.ask(path, method, body, **login, **headers).status

    def log_in(self, token: str) -> str:
        """The cookie of a new session."""
        answer = self.gateway.ask("/api/login", "POST", {"token": token})
        assert answer.status == 200, answer.body
        return answer.headers["Set-Cookie"].partition(";")[0]

    def open(self, pool: Pool, **headers: str) -> ClientConnection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"ws://{self.gateway.host}/{pool.stream_id}?format=json"
        return connect(url, additional_headers=named, close_timeout=0.2)

    def names(self, token: str) -> set[str]:
        """The cameras in the list of a token, by its list and by its events."""
        answer = self.ask("/api/streams", token)
        assert answer.status == 200, answer.body
        listed = {each["name"] for each in answer.json["streams"]}
        with self.gateway.events(Authorization=f"Bearer {token}") as events:
            assert {each["name"] for each in first_event(events, "streams")["streams"]} == listed
        return listed

    def check_sees(self, token: str, pool: Pool) -> None:
        """Fails unless the token sees this camera everywhere."""
        with pool.publishing(20):
            wait_for(lambda: self.ask(f"/api/streams/{pool.stream_id}", token).status == 200, what="the stream")
            assert pool.stream_id.partition(":")[0] in self.names(token)
            snapshot = self.ask(f"/api/streams/{pool.stream_id}/snapshot.jpg", token)
            assert (snapshot.status, snapshot.body[:2]) == (200, b"\xff\xd8")
            with self.open(pool, Authorization=f"Bearer {token}") as live:
                assert parse_result(live.recv(timeout=10)).stream == pool.stream_id

    def check_sees_only(self, token: str, own: Pool, pool: Pool) -> None:
        """Fails unless the token's lists name its own camera alone, and the other answers as if it did not exist."""
        name = pool.stream_id.partition(":")[0]
        assert self.names(token) == {own.stream_id.partition(":")[0]}
        absent = pool.stream_id.replace(name, "absent-1")
        for path in ("/api/streams/{}", "/api/streams/{}/snapshot.jpg"):
            hidden, missing = (self.ask(path.format(each), token) for each in (pool.stream_id, absent))
            assert hidden.status == missing.status == 404
            assert hidden.body.replace(name.encode(), b"absent-1") == missing.body
        live = self.open(pool, Authorization=f"Bearer {token}")
        with live, pool.publishing(20), pytest.raises(ConnectionClosed, match="no such stream"):
            live.recv(timeout=10)


@pytest.fixture
def site(
    valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": TOKENS}))
    monkeypatch.setattr(gateway_events, "MAX_CLIENTS", 60)
    pools = Pool(client), Pool(client, "yard-1")
    for pool in pools:
        pool.push()
        pool.publish()
    with Relay(queue_url=valkey.url) as relay:
        settings = {"GATEWAY_TOKENS_FILE": str(file), "GATEWAY_TOKEN": SERVICE}
        settings["WEBSOCKET_SERVER_URL"] = f"ws://127.0.0.1:{relay.port}"
        with RunningGateway(valkey.url, **settings) as gateway:
            made = Site(gateway, file, pools, monkeypatch, valkey)
            wait_for(lambda: len(made.names(CHIEF)) == 2, what="both cameras")
            yield made


@tries("a stranger can load the page's files, ask for `/api/session`, and try tokens.")
def a_stranger_may_knock(site: Site) -> None:
    assert site.ask("/").status == 200
    session = site.ask("/api/session").json
    assert (session["login_required"], session["logged_in"], session["cameras"]) == (True, False, None)
    assert site.gateway.ask("/api/login", "POST", {"token": "a guess"}).status == 401


@tries("a stranger can read health and metrics at `METRICS_PORT`.")
def a_stranger_may_probe(site: Site) -> None:
    health = HealthServer(site.gateway.lifecycle, site.gateway.registry, 0, "127.0.0.1")
    health.start()
    try:
        for path in ("healthz", "readyz", "metrics"):
            with urllib.request.urlopen(f"http://127.0.0.1:{health.port}/{path}", timeout=10) as answer:
                assert answer.status == 200
    finally:
        health.close()


@tries("a stranger cannot read a stream, an event, a statistic, a snapshot, live video or the API's description.")
def a_stranger_sees_nothing(site: Site) -> None:
    guarded = [path.replace("{id}", site.mine.stream_id) for path in OPENAPI["paths"] if path not in OPEN]
    assert len(guarded) >= 7
    # After some wrong tokens each answer is late, as `test_login` checks.
    site.patch.setattr(handlers, "WRONG_TOKEN_PAUSE_S", 0.0)
    for path in (*guarded, "/api/none"):
        for token in ("", "a guess"):
            answer = site.ask(path, token)
            assert (answer.status, answer.code) in ((401, "unauthorized"), (429, "too_many"))
            assert b"gate-1" not in answer.body
    with pytest.raises(InvalidStatus, match="401"):
        site.open(site.mine)


@tries("a stranger cannot create a session without a token, or change one into the session of another token.")
def a_stranger_forges_nothing(site: Site) -> None:
    cookie = site.log_in(WALL)
    assert site.ask("/api/streams", Cookie=cookie).status == 200
    forged = [cookie[:-1] + ("A" if cookie[-1] != "A" else "B"), "ei_session=1.9999999999.x.y", "ei_session="]
    forged += [cookie.replace("wall", "chief") + "x", cookie.replace(".", "..", 1), cookie.rpartition(".")[0]]
    for each in forged:
        assert site.ask("/api/streams", Cookie=each).status == 401, each


@tries("a stranger cannot keep a valid token out by guessing.")
def a_stranger_blocks_nobody(site: Site) -> None:
    for _ in range(11):
        site.gateway.ask("/api/login", "POST", {"token": "a guess"})
    assert site.ask("/api/streams", WALL).status == 200
    assert site.log_in(WALL)


@tries("an admin can see all cameras and all statistics; the token `GATEWAY_TOKEN` is one of an admin.")
def an_admin_sees_all(site: Site) -> None:
    for token in (CHIEF, SERVICE):
        for pool in (site.mine, site.other):
            site.check_sees(token, pool)
        stats = site.ask("/api/stats", token).json
        assert stats["workers"]
        assert all(each["queue_length"] is not None for each in stats["types"])


@tries("an admin can log out, which ends the session in that browser only.")
def an_admin_logs_out(site: Site) -> None:
    here, there = site.log_in(CHIEF), site.log_in(CHIEF)
    out = site.gateway.ask("/api/logout", "POST", Cookie=here)
    assert out.headers["Set-Cookie"].startswith('ei_session="";')
    assert site.ask("/api/streams", Cookie=there).status == 200


GATE = {"name": "gate", "url": "http://10.0.0.8/v?key=k1", "login": {"user": "ei", "password": "se cret"}}


@tries("an admin can list, add, change and remove the cameras of the pool.")
def an_admin_changes_cameras(site: Site) -> None:
    folder = site.file.parent
    environ = {"QUEUE_URL": site.server.url, "CAMERAS_FILE": str(folder / "cameras.yaml")}
    housekeeping = ServiceProcess("housekeeping", environ, folder, "housekeeping").start()
    try:
        wait_for(lambda: site.change(CHIEF, "/api/cameras", "POST", GATE) == 201, 30, "the owner")
        assert site.change(CHIEF, "/api/cameras/gate", "PATCH", {"fps": 5}) == 200
        assert [each["name"] for each in site.ask("/api/cameras", CHIEF).json["cameras"]] == ["gate"]
        assert site.change(CHIEF, "/api/cameras/gate", "DELETE", {}) == 204
    finally:
        housekeeping.kill()


@tries("an admin cannot read a camera's login, or have it sent to another host than before.")
def an_admin_reads_no_login(site: Site) -> None:
    camera = CompleteCamera(7, CameraSpec.model_validate(GATE))
    with redis.Redis(port=site.server.port) as client:
        client.hset(keys.CAMERA_SPECS, "gate", spec_value(camera))
    wait_for(lambda: site.ask("/api/cameras/gate", CHIEF).status == 200, what="the camera")
    for path in ("/api/cameras", "/api/cameras/gate"):
        shown = site.ask(path, CHIEF)
        assert shown.status == 200
        assert not any(secret in shown.body for secret in (b"se cret", b"k1"))
    for change in ({"url": "http://10.0.0.9/"}, {"substream": "http://10.0.0.9/"}):
        with pytest.raises(CameraRefusal, match="another host"):
            patched(camera.spec, change)


@tries("an admin with cameras can see those cameras, and change what an admin can change.")
def an_admin_with_cameras_sees_them(site: Site) -> None:
    site.check_sees(YARD, site.other)
    assert _change(site, YARD) == ["yard"]


@tries("an admin with cameras cannot see other cameras.")
def an_admin_with_cameras_sees_no_other(site: Site) -> None:
    site.check_sees_only(YARD, site.other, site.mine)


@tries("a viewer can see its cameras: lists, events, statistics, snapshots and live video.")
def a_viewer_sees_its_cameras(site: Site) -> None:
    site.check_sees(WALL, site.mine)
    assert site.ask("/api/stats", WALL).json["totals"]["streams"] == 1


@tries("a viewer cannot see other cameras: each looks as if it did not exist.")
def a_viewer_sees_no_other(site: Site) -> None:
    site.check_sees_only(WALL, site.mine, site.other)


@tries("a viewer cannot see drops, load, queues and pods, except for the number of pods of each type that it sees.")
def a_viewer_sees_no_load(site: Site) -> None:
    # An admin's events are open meanwhile: a viewer of all cameras must not share them.
    with site.gateway.events(Authorization=f"Bearer {CHIEF}") as all_events:
        assert first_event(all_events, "stats", lambda each: each["workers"])["totals"]["queue_length"] is not None
        for token in (WALL, LOBBY):
            _check_sees_no_load(site.ask("/api/stats", token).json)
            with site.gateway.events(Authorization=f"Bearer {token}") as events:
                _check_sees_no_load(first_event(events, "stats"))


@tries("a viewer cannot change anything: it may send nothing but GET and HEAD, except to log in and out.")
def a_viewer_changes_nothing(site: Site) -> None:
    assert _change(site, WALL) == []
    for method in ("PUT", "DELETE", "PATCH"):
        assert site.ask("/api/streams", WALL, method).status in (403, 405)
    assert site.gateway.ask("/api/logout", "POST", Cookie=site.log_in(WALL)).status == 200


@tries("a viewer cannot see or change the cameras of the pool.")
def a_viewer_has_no_cameras(site: Site) -> None:
    for token in (WALL, LOBBY):
        for path in ("/api/cameras", "/api/cameras/gate"):
            assert site.ask(path, token).status == 403
        for path, method in CAMERA_CHANGES:
            assert site.change(token, path, method, GATE) == 403


@tries(
    "a viewer cannot hold more than half of the websockets, streams of events, snapshots and searches that run at once."
)
def a_viewer_leaves_half(site: Site) -> None:
    """Of the streams of events; test_shares tries the rest."""
    with ExitStack() as opened:
        for token in (*[WALL] * 30, LOBBY, CHIEF):
            next(opened.enter_context(site.gateway.events(Authorization=f"Bearer {token}")))
        assert site.ask("/api/events", WALL).status == 429


@tries("a removed token cannot keep a session, a websocket or a stream of events for longer than 2 s.")
def a_removed_token_ends(site: Site) -> None:
    cookie = site.log_in(WALL)
    with (
        site.mine.publishing(20),
        site.gateway.events(Cookie=cookie) as events,
        site.open(site.mine, Cookie=cookie) as live,
    ):
        live.recv(timeout=10)
        new = site.file.with_suffix(".new")
        new.write_text(json.dumps({"tokens": TOKENS[:2]}))
        new.rename(site.file)
        with suppress(ConnectionClosed):
            while True:
                live.recv(timeout=10)
        list(events)  # ends
    assert site.ask("/api/streams", Cookie=cookie).status == site.ask("/api/streams", WALL).status == 401


@tries("a page of another site cannot change or probe a camera of the pool, even in a browser with a session.")
def another_site_changes_no_camera(site: Site) -> None:
    cookie = site.log_in(CHIEF)
    for path, method in CAMERA_CHANGES:
        assert site.change("", path, method, GATE, Cookie=cookie, Origin="https://evil.example") == 403


@tries("a page of another site cannot log in, log out or open live video, even in a browser with a session.")
def a_foreign_page_does_nothing(site: Site) -> None:
    cookie = site.log_in(CHIEF)
    for path in ("/api/login", "/api/logout"):
        body: Any = {"token": CHIEF} if path == "/api/login" else None
        answer = site.gateway.ask(path, "POST", body, Origin="https://elsewhere.example", Cookie=cookie)
        assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)
    with pytest.raises(InvalidStatus, match="403"):
        site.open(site.mine, Cookie=cookie, Origin="https://elsewhere.example")


def _check_sees_no_load(stats: Any) -> None:
    assert stats["workers"] == []
    (kind,) = stats["types"]
    assert (kind["drop_fps"], kind["scale_ratio"], kind["capacity_fps"], kind["queue_length"]) == (None,) * 4
    assert (stats["totals"]["drop_fps"], stats["totals"]["queue_length"]) == (None, None)
    assert kind["replicas"] == 1


def _change(site: Site, token: str) -> list[str]:
    """Sends a request that changes something, to a handler made for this; returns the names of those it let through."""
    changed: list[str] = []

    async def post(handler: api.StatsHandler) -> None:
        changed.append(handler.access.name)
        handler.answer_json({})

    site.patch.setattr(api.StatsHandler, "post", post)
    assert site.ask("/api/stats", token, "POST").status == (200 if changed else 403)
    return changed


def test_every_sentence_is_tried() -> None:
    tries.check()


@pytest.mark.parametrize("sentence", tries.functions, ids=lambda each: each[:60])
def test_login(sentence: str, site: Site) -> None:
    tries.functions[sentence](site)
