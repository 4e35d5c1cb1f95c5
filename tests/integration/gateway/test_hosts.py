"""What a foreign site whose name points to this machine can read, and the headers of every response."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.commands.status.collect_facts import _gateway
from tests.support.gateway import RunningGateway
from tests.support.openapi import check_schema
from tests.support.waiting import wait_for

TOKEN = "correct-horse-battery"
FOREIGN = "evil.example:31002"
PATHS = (
    *("/", "/pool", "/api/streams", "/api/streams/a:b:inferred", "/api/streams/a:b:inferred/snapshot.jpg"),
    *("/api/stats", "/api/events", "/api/session", "/api/openapi.json", "/api/none", "/a:b:inferred"),
)


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_foreign_names_are_refused(gateway: RunningGateway, path: str) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"} if path == "/a:b:inferred" else {}
    answer = gateway.ask(path, Host=FOREIGN, Origin=f"http://{FOREIGN}", **upgrade)
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "ALLOWED_HOSTS" in answer.json["error"]["message"]
    check_schema(answer.json, "Error")


def test_the_refusal_is_logged_once(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/api/login", "/api/logout"):
        assert gateway.ask(path, "POST", {"token": "x"}, Host=FOREIGN).status == 403
    (line,) = (each.getMessage() for each in caplog.records if each.levelno == logging.WARNING)
    assert "evil.example" in line


def test_the_status_command_says_what_to_do(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asyncio.run(_gateway(f"http://{gateway.host}")) is None
    # Which names lead to this machine differs from machine to machine.
    monkeypatch.setattr("elastic_inference.base.allowed_hosts.AllowedHosts.allow", lambda *_: False)
    assert "ALLOWED_HOSTS" in str(asyncio.run(_gateway(f"http://{gateway.host}")))


def test_local_names_and_allowed_ones_are_answered(gateway: RunningGateway, valkey: EmbeddedValkey) -> None:
    own = socket.gethostname()
    for host in (gateway.host, "localhost", "192.0.2.7:31002", "[::1]:31002", own, f"{own.partition('.')[0]}:80"):
        assert gateway.ask("/api/streams", Host=host).status == 200, host
    with RunningGateway(valkey.url, ALLOWED_HOSTS="video.example.org,*.svc") as allowing:
        for host in ("video.example.org", "gateway.default.svc:5000", "localhost"):
            assert allowing.ask("/api/streams", Host=host).status == 200, host
        assert allowing.ask("/api/streams", Host=FOREIGN).status == 403


def test_with_a_token_the_token_protects(valkey: EmbeddedValkey) -> None:
    with RunningGateway(valkey.url, GATEWAY_TOKEN=TOKEN) as gateway:
        assert gateway.ask("/api/streams", Host=FOREIGN).status == 401
        assert gateway.ask("/api/streams", Host=FOREIGN, Authorization=f"Bearer {TOKEN}").status == 200


def test_behind_a_trusted_proxy_the_forwarded_host_counts(valkey: EmbeddedValkey) -> None:
    with RunningGateway(valkey.url, TRUSTED_PROXIES="127.0.0.1") as gateway:
        assert gateway.ask("/api/streams", X_Forwarded_Host="evil.example").status == 403
        assert gateway.ask("/api/streams", X_Forwarded_Host="localhost", Host="inside").status == 200


@pytest.fixture(params=["http", "https"])
def answers(
    request: pytest.FixtureRequest, valkey: EmbeddedValkey, certificate: tuple[Path, Path]
) -> Iterator[RunningGateway]:
    cert, key = certificate
    tls = {"GATEWAY_TLS_CERT": str(cert), "GATEWAY_TLS_KEY": str(key)} if request.param == "https" else {}
    with RunningGateway(valkey.url, **tls) as running:
        yield running


def raw_answer(gateway: RunningGateway, request: bytes) -> http.client.HTTPResponse:
    raw = socket.create_connection(("127.0.0.1", gateway.port), 10)
    if gateway.tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = context.wrap_socket(raw)
    with raw:
        raw.sendall(request)
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        answer.body = answer.read()  # type: ignore[attr-defined]
    return answer


NOT_HTTP = {
    "no host": b"GET /api/streams HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "odd host": b"GET / HTTP/1.1\r\nHost: localhost; script-src *\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: localhost\r\nbroken\r\n\r\n",
    "long body": b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n",
    "no length": b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    "odd coding": b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
    "odd form": b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data\r\n"
    b"Content-Length: 1\r\n\r\nx",
}


def test_every_answer_is_in_one_form_with_the_security_headers(answers: RunningGateway) -> None:
    requests = {"good": b"GET /api/streams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", **NOT_HTTP}
    for name, request in requests.items():
        answer = raw_answer(answers, request)
        headers = answer.headers
        assert "default-src 'self'" in headers["Content-Security-Policy"], name
        assert headers["X-Content-Type-Options"] == "nosniff", name
        assert headers["Server"] == "elastic-inference", name
        assert headers["Content-Type"] == "application/json", name
        assert ("Strict-Transport-Security" in headers) is answers.tls, name
        if name != "good":
            assert answer.status == 400, name
            document = json.loads(answer.body)  # type: ignore[attr-defined]
            check_schema(document, "Error")
            assert document["error"]["code"] == "bad_request", name
    wait_for(lambda: answers.metric("ei_gateway_requests_total", code="4xx") == len(NOT_HTTP), what="their count")


def test_https_at_a_trusted_proxy_is_strict_too(valkey: EmbeddedValkey) -> None:
    headers = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "localhost"}
    with RunningGateway(valkey.url, TRUSTED_PROXIES="127.0.0.1") as gateway:
        strict = gateway.ask("/api/streams", **headers).headers["Strict-Transport-Security"]
        assert strict.startswith("max-age=")
        assert "Strict-Transport-Security" not in gateway.ask("/api/streams").headers
    with RunningGateway(valkey.url) as gateway:
        assert "Strict-Transport-Security" not in gateway.ask("/api/streams", **headers).headers
