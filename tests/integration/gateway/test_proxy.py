"""The gateway behind a real nginx with the configuration of doc/proxy.md, and requests as Traefik sends them."""

from __future__ import annotations

import http.client
import json
import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.exceptions import InvalidStatus

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.result import parse_result
from tests.support.gateway import Answer, Pool, RunningGateway, read_events
from tests.support.nginx import Nginx
from tests.support.viewer import connect_patiently as connect
from tests.support.websocket_server import Relay

TOKEN = "correct-horse-battery"
TRUSTED = {"TRUSTED_PROXIES": "127.0.0.1"}
PAGE = b'<!doctype html><meta content="./"><script src="./assets/app.js"></script>'


@pytest.fixture
def dashboard(tmp_path: Path) -> Path:
    """A folder that looks like a built dashboard."""
    folder = tmp_path / "dashboard"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_bytes(PAGE)
    (folder / "assets" / "app.js").write_text("1")
    return folder


class Site:
    """What a browser at the proxy's address does."""

    def __init__(self, port: int, cert: Path | None) -> None:
        self.context = ssl.create_default_context(cafile=str(cert)) if cert else None
        self.host = f"127.0.0.1:{port}"
        self.origin = f"{'https' if cert else 'http'}://{self.host}"
        self._port = port

    def connection(self) -> http.client.HTTPConnection:
        if self.context:
            return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=10, context=self.context)
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        connection = self.connection()
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def watch(self, stream_id: str, cookie: str = "", path: str = "/ei") -> str:
        """The stream of the first result that a page of this site gets by websocket."""
        url = f"{self.origin.replace('http', 'ws', 1)}{path}/{stream_id}?format=json"
        headers = {"Cookie": cookie} if cookie else {}
        with connect(url, origin=self.origin, additional_headers=headers, ssl=self.context) as viewer:  # type: ignore[arg-type]
            return parse_result(viewer.recv(timeout=10)).stream


@contextmanager
def behind_nginx(
    valkey: EmbeddedValkey,
    folder: Path,
    *,
    tls: tuple[Path, Path] | None = None,
    changes: dict[str, str] | None = None,
    **settings: str,
) -> Iterator[tuple[Site, RunningGateway]]:
    folder = folder / "nginx"
    folder.mkdir()
    with Relay(queue_url=valkey.url) as relay:
        url = f"ws://127.0.0.1:{relay.port}"
        with (
            RunningGateway(valkey.url, WEBSOCKET_SERVER_URL=url, **settings) as gateway,
            Nginx(folder, gateway.port, tls=tls, changes=changes) as nginx,
        ):
            yield Site(nginx.port, tls[0] if tls else None), gateway


@pytest.mark.parametrize("with_tls", [False, True], ids=["http", "https"])
def test_everything_works_below_a_prefix_of_nginx(
    valkey: EmbeddedValkey,
    client: redis.Redis,
    dashboard: Path,
    certificate: tuple[Path, Path],
    with_tls: bool,
) -> None:
    pool = Pool(client)
    pool.push()
    pool.publish()
    settings = {**TRUSTED, "GATEWAY_TOKEN": TOKEN, "DASHBOARD_DIR": str(dashboard)}
    tls = certificate if with_tls else None
    with behind_nginx(valkey, dashboard.parent, tls=tls, **settings) as (site, gateway), pool.publishing(20):
        # Relative, since nginx does not know at which port a browser reaches it, behind a port mapping for example.
        moved = site.ask("/ei", Host="site.example:8443")
        assert (moved.status, moved.headers["Location"]) == (301, "/ei/")
        page = site.ask(f"/ei/stream/{pool.stream_id}")
        assert page.body == PAGE.replace(b'"./', b'"/ei/')
        own = f"{'wss' if with_tls else 'ws'}://{site.host}"
        assert own in page.headers["Content-Security-Policy"]
        assert site.ask("/ei/assets/app.js").body == b"1"

        assert site.ask("/ei/api/streams").status == 401
        login = site.ask("/ei/api/login", "POST", {"token": TOKEN}, Origin=site.origin)
        assert login.status == 200, login.body
        flags = login.headers["Set-Cookie"].partition(";")[2]
        assert "Path=/ei/" in flags
        assert ("Secure" in flags) is with_tls
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        session = site.ask("/ei/api/session", Cookie=cookie, Referer=f"{site.origin}/ei/").json
        assert (session["logged_in"], session["websocket_problem"]) == (True, None)
        assert [each["id"] for each in site.ask("/ei/api/streams", Cookie=cookie).json["streams"]] == [pool.stream_id]

        connection = site.connection()
        connection.request("GET", "/ei/api/events", headers={"Cookie": cookie})
        assert next(read_events(connection.getresponse()))[0] == "hello"
        connection.close()
        assert site.watch(pool.stream_id, cookie) == pool.stream_id
        path = f"/ei/api/streams/{pool.stream_id}/snapshot.jpg"
        # A snapshot needs a frame that arrives while it is asked for.
        assert site.ask(path, Cookie=cookie).body[:2] == b"\xff\xd8"
        assert gateway.metric("ei_gateway_requests_total", code="1xx") == 1


def test_a_location_without_a_slash_works_although_nginx_then_doubles_it(
    valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path, dashboard: Path
) -> None:
    pool = Pool(client)
    pool.publish()
    changes = {"location /ei/ {": "location /ei {"}
    settings = {**TRUSTED, "GATEWAY_TOKEN": TOKEN, "DASHBOARD_DIR": str(dashboard)}
    with behind_nginx(valkey, tmp_path, changes=changes, **settings) as (site, _), pool.publishing(20):
        for path in ("/ei", "/ei/", "/ei/pool", "/ei/stream/a:b:inferred"):
            assert site.ask(path).body == PAGE.replace(b'"./', b'"/ei/'), path
        assert site.ask("/ei/assets/app.js").body == b"1"
        assert site.ask("/ei/api/streams").status == 401
        assert site.ask("/ei/api/nothing").json["error"]["code"] == "unauthorized"
        login = site.ask("/ei/api/login", "POST", {"token": TOKEN}, Origin=site.origin)
        cookie = login.headers["Set-Cookie"].partition(";")[0]
        assert [each["id"] for each in site.ask("/ei/api/streams", Cookie=cookie).json["streams"]] == [pool.stream_id]
        assert site.watch(pool.stream_id, cookie) == pool.stream_id
        assert site.ask(f"/ei/api/streams/{pool.stream_id}/snapshot.jpg", Cookie=cookie).body[:2] == b"\xff\xd8"


def test_without_the_header_the_page_finds_its_root_by_the_depth_of_its_path(
    valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path, dashboard: Path
) -> None:
    pool = Pool(client)
    pool.publish()
    bare = {"        proxy_set_header X-Forwarded-Prefix /ei;\n": ""}
    with behind_nginx(valkey, tmp_path, changes=bare, DASHBOARD_DIR=str(dashboard)) as (site, _), pool.publishing(20):
        pages = {path: site.ask(f"/ei{path}") for path in ("/", "/pool", "/stream/a:b:inferred", "/compare/a/x")}
        roots = [re.findall(rb'content="([^"]+)"', page.body)[0] for page in pages.values()]
        assert roots == [b"./", b"./", b"../", b"../../"]
        assert len({page.headers["Etag"] for page in pages.values()}) == 3
        # The host is the browser's own, so nobody has to be trusted.
        assert site.watch(pool.stream_id) == pool.stream_id


def test_a_proxy_that_does_not_strip_the_prefix_needs_the_base_path(
    valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path, dashboard: Path
) -> None:
    pool = Pool(client)
    pool.publish()
    settings = {"BASE_PATH": "/ei/", "DASHBOARD_DIR": str(dashboard)}
    with RunningGateway(valkey.url, **settings) as gateway:
        for path in ("/ei", "/ei/", "/ei/stream/x", "/", "/pool"):
            assert gateway.ask(path).body == PAGE.replace(b'"./', b'"/ei/'), path
        assert gateway.ask("/ei/assets/app.js").body == b"1"
        assert gateway.ask("/ei/api/session").status == gateway.ask("/api/session").status == 200
        for path in ("/eiapi/session", "/other/api/session"):
            assert gateway.ask(path).headers["Content-Type"].startswith("text/html"), path
    (folder := tmp_path / "kept").mkdir()
    with Relay(queue_url=valkey.url) as relay:
        settings["WEBSOCKET_SERVER_URL"] = f"ws://127.0.0.1:{relay.port}"
        with RunningGateway(valkey.url, **settings) as gateway:
            kept = {f"http://127.0.0.1:{gateway.port}/;": f"http://127.0.0.1:{gateway.port};"}
            with Nginx(folder, gateway.port, changes=kept) as nginx, pool.publishing(20):
                assert Site(nginx.port, None).watch(pool.stream_id) == pool.stream_id


def test_a_changed_host_is_refused_with_a_reason_and_one_line(
    valkey: EmbeddedValkey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"proxy_set_header Host $http_host;": "proxy_set_header Host $proxy_host;"}
    with behind_nginx(valkey, tmp_path, changes=changes) as (site, gateway):
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                with pytest.raises(InvalidStatus) as refused:
                    site.watch("a:people:inferred")
                assert refused.value.response.status_code == 403
        (line,) = (record.getMessage() for record in caplog.records if "refused" in record.getMessage())
        problem = site.ask("/ei/api/session", Referer=f"{site.origin}/ei/").json["websocket_problem"]
        assert line == f"{problem} (logged once a minute)"
        for part in (site.origin, gateway.host, "TRUSTED_PROXIES", "127.0.0.1 do not count"):
            assert part in problem
        assert gateway.ask("/api/session").json["websocket_problem"] is None


def test_requests_as_traefik_sends_them(valkey: EmbeddedValkey, dashboard: Path) -> None:
    headers = {
        "Host": "site.example",
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "site.example",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Prefix": "/ei",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Server": "traefik",
        "X-Real-Ip": "203.0.113.9",
        "Origin": "https://site.example",
    }
    settings = {"GATEWAY_TOKEN": TOKEN, "DASHBOARD_DIR": str(dashboard)}
    with RunningGateway(valkey.url, **settings, **TRUSTED) as gateway:
        # A browser at /ei, without the slash: only the header gives the prefix.
        assert gateway.ask("/", **headers).body == PAGE.replace(b'"./', b'"/ei/')
        cookie = gateway.ask("/api/login", "POST", {"token": TOKEN}, **headers).headers["Set-Cookie"]
        assert "Path=/ei/" in cookie
        assert "Secure" in cookie
        # If another gateway on the host has set a cookie of this name too, ours counts.
        session = cookie.partition(";")[0]
        for both in (f"ei_session=1.2.3.4; {session}", f"{session}; ei_session=1.2.3.4"):
            assert gateway.ask("/api/streams", Cookie=both).status == 200
        for client in range(11):
            wrong = {**headers, "X-Forwarded-For": f"203.0.113.{client}, 203.0.113.200"}
            status = gateway.ask("/api/login", "POST", {"token": "wrong"}, **wrong).status
        assert status == 429, "the limit counts the address that the proxy saw"
        assert gateway.ask("/api/login", "POST", {"token": TOKEN}, **headers).status == 200
    with RunningGateway(valkey.url, **settings) as gateway:
        assert gateway.ask("/", **headers).body == PAGE
        cookie = gateway.ask("/api/login", "POST", {"token": TOKEN}, **headers).headers["Set-Cookie"]
        assert "Secure" not in cookie, "nobody is trusted by default"


def test_the_websocket_server_believes_trusted_proxies_too(
    valkey: EmbeddedValkey, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    pool = Pool(client)
    pool.publish()
    headers = {"X-Forwarded-Host": "site.example"}
    for trusted in (("127.0.0.0/8",), ()):
        with Relay(queue_url=valkey.url, trusted_proxies=trusted, allowed_hosts="site.example") as relay:
            url = f"ws://127.0.0.1:{relay.port}/{pool.stream_id}"

            def opens(url: str = url) -> bool:
                with connect(url, origin="https://site.example", additional_headers=headers):  # type: ignore[arg-type]
                    return True

            if trusted:
                assert opens()
                continue
            for _ in range(2):
                with pytest.raises(InvalidStatus, match="403"):
                    opens()
    lines = [record.getMessage() for record in caplog.records if "TRUSTED_PROXIES" in record.getMessage()]
    assert len(lines) == 1
