"""A gateway with a token: which paths need it, sessions, and who may not log in."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.gateway import RunningGateway
from tests.support.openapi import OPENAPI, check, check_schema

TOKEN = "correct-horse-battery"


@pytest.fixture
def closed(valkey: EmbeddedValkey) -> Iterator[RunningGateway]:
    """A gateway with a token."""
    with RunningGateway(valkey.url, GATEWAY_TOKEN=TOKEN) as running:
        yield running


GUARDED = [
    "/api/streams",
    "/api/stream",
    "/api/streams/a:b:inferred",
    "/api/streams/a:b:inferred/snapshot.jpg",
    "/api/stats",
    "/api/events",
    "/api/openapi.json",
    "/api/none",
    "/gate-1:people:inferred",
]


@pytest.mark.parametrize("path", GUARDED)
def test_every_guarded_path_needs_the_token(closed: RunningGateway, path: str) -> None:
    for headers in ({}, {"Authorization": "Basic eDp5"}, {"Cookie": "ei_session=1.9999999999.x.y"}):
        answer = closed.ask(path, **headers)
        assert (answer.status, answer.code) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        check_schema(answer.json, "Error")


def test_the_page_and_the_session_are_open(closed: RunningGateway) -> None:
    assert closed.ask("/").status == 200
    session = check(closed.ask("/api/session"), "/api/session").json
    assert (session["login_required"], session["logged_in"]) == (True, False)
    assert (session["name"], session["role"], session["cameras"]) == (None, None, None)


def test_a_bearer_token_is_accepted(closed: RunningGateway) -> None:
    assert closed.ask("/api/streams", Authorization=f"Bearer {TOKEN}").status == 200
    assert closed.ask("/api/streams", Authorization=f"bearer {TOKEN}").status == 200
    assert closed.ask("/api/streams", Authorization=f"Bearer {TOKEN}x").status == 401


def test_login_session_and_logout_with_two_replicas(closed: RunningGateway, valkey: EmbeddedValkey) -> None:
    login = check(closed.ask("/api/login", "POST", {"token": TOKEN}), "/api/login", "post")
    cookie = login.headers["Set-Cookie"]
    assert login.json["logged_in"]
    assert (login.json["name"], login.json["role"], login.json["cameras"]) == ("admin", "admin", ["*"])
    assert re.search(r"; HttpOnly", cookie)
    assert re.search(r"; SameSite=Strict", cookie)
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    session = cookie.partition(";")[0]
    with RunningGateway(valkey.url, GATEWAY_TOKEN=TOKEN) as replica:
        for each in (closed, replica):
            assert each.ask("/api/streams", Cookie=session).status == 200
            assert each.ask("/api/session", Cookie=session).json["logged_in"]
            with each.events(Cookie=session) as events:
                assert next(events)[0] == "hello"
    logout = check(closed.ask("/api/logout", "POST", Cookie=session), "/api/logout", "post")
    assert logout.headers["Set-Cookie"].startswith('ei_session="";')
    assert "expires=" in logout.headers["Set-Cookie"]
    assert not logout.json["logged_in"]


@pytest.mark.parametrize("body", [b"", b"token", b"[]", b'{"token":1}', b'{"token":""}', b"[" * 5000, b"\xff"])
def test_a_malformed_login_is_a_bad_request(closed: RunningGateway, body: bytes) -> None:
    answer = check(closed.ask("/api/login", "POST", body), "/api/login", "post")
    assert (answer.status, answer.code) == (400, "bad_request")


def test_wrong_tokens_are_slowed_and_counted_and_the_right_one_is_accepted_meanwhile(
    closed: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.handlers.WRONG_TOKEN_PAUSE_S", 1.0)
    statuses = []
    for _ in range(11):
        began = time.monotonic()
        answer = check(closed.ask("/api/login", "POST", {"token": "wrong"}), "/api/login", "post")
        statuses.append(answer.status)
    assert statuses == [401] * 10 + [429]
    assert int(answer.headers["Retry-After"]) >= 1
    assert time.monotonic() - began >= 0.9, "the answer to the last one was delayed"
    # A stranger behind the same address goes on guessing.
    stranger = [closed.connection() for _ in range(5)]
    for connection in stranger:
        connection.request("GET", "/api/streams", headers={"Authorization": "Bearer wrong"})
    for _ in range(5):
        assert closed.ask("/api/login", "POST", {"token": TOKEN}).status == 200
        assert closed.ask("/api/streams", Authorization=f"Bearer {TOKEN}").status == 200
    assert {connection.getresponse().status for connection in stranger} == {429}
    for connection in stranger:
        connection.close()
    assert closed.metric("ei_gateway_wrong_tokens_total") == 16


def test_a_token_with_non_ascii_letters_works_in_login_and_header(valkey: EmbeddedValkey) -> None:
    token = "Schlüssel-für-alle"
    with RunningGateway(valkey.url, GATEWAY_TOKEN=token) as gateway:
        assert gateway.ask("/api/login", "POST", {"token": token}).status == 200
        connection = gateway.connection()
        connection.request("GET", "/api/streams", headers={"Authorization": b"Bearer " + token.encode()})  # type: ignore[dict-item]
        assert connection.getresponse().status == 200
        connection.close()


def test_other_fields_of_a_login_are_ignored_as_described(closed: RunningGateway) -> None:
    assert check(closed.ask("/api/login", "POST", {"token": TOKEN, "user": "x"}), "/api/login", "post").status == 200
    assert OPENAPI["components"]["schemas"]["Login"].get("additionalProperties", True) is True


def test_a_page_of_another_site_can_neither_log_in_nor_out(closed: RunningGateway) -> None:
    for path in ("/api/login", "/api/logout"):
        answer = closed.ask(path, "POST", {"token": TOKEN}, Origin="https://evil.example")
        assert (answer.status, answer.code) == (403, "forbidden")
        assert "Set-Cookie" not in answer.headers
    assert closed.ask("/api/login", "POST", {"token": TOKEN}, Origin=f"http://{closed.host}").status == 200
