"""Tokens, sessions and the limit on wrong tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.access import EVERYBODY, Access
from elastic_inference.flows.gateway.auth import SESSION_LIFE_S, Authenticator, FailureLimit
from elastic_inference.flows.gateway.tokens import Token, admin_token


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now_s


def authenticator(*tokens: str, clock: Clock | None = None) -> Authenticator:
    known = [admin_token(text) for text in tokens]
    return Authenticator(known, required=True, clock=clock or Clock())


def access(auth: Authenticator, token: str) -> Access:
    found = auth.access_of(token)
    assert found is not None
    return found


def test_only_the_token_is_the_token() -> None:
    auth = authenticator("correct horse")
    assert access(auth, "correct horse").role is Role.ADMIN
    for wrong in ("", "correct", "correct horse ", "CORRECT HORSE", "x" * 5000, "\ud800"):
        assert auth.access_of(wrong) is None


def test_without_a_token_everybody_may_do_everything() -> None:
    auth = Authenticator([], required=False)
    assert auth.access_of("") is None
    assert auth.current(EVERYBODY) is EVERYBODY
    assert EVERYBODY.sees_all


def test_where_all_tokens_are_removed_nobody_gets_in() -> None:
    auth = authenticator("a")
    before = access(auth, "a")
    auth.replace([])
    assert auth.access_of("a") is None
    assert auth.current(before) is None


def test_a_session_is_valid_until_it_expires_on_every_replica_with_the_same_token() -> None:
    clock = Clock()
    first, second, other = (authenticator(*tokens, clock=clock) for tokens in ("a", "ba", "b"))
    session = first.issue_session(access(first, "a"))
    found = second.session(session)
    assert found is not None
    assert found.left_s == pytest.approx(SESSION_LIFE_S)
    assert found.access == access(first, "a")
    assert other.session(session) is None
    clock.now_s += SESSION_LIFE_S
    assert first.session(session) is None


def test_a_session_of_the_former_form_is_that_of_the_first_token() -> None:
    clock = Clock()
    auth = authenticator("a", "b", clock=clock)
    key = hmac.digest(b"a", b"elastic-inference session", hashlib.sha256)
    body = f"1.{int(clock.now_s) + 60}.random"
    signature = base64.urlsafe_b64encode(hmac.digest(key, body.encode(), hashlib.sha256)).rstrip(b"=").decode()
    found = auth.session(f"{body}.{signature}")
    assert found is not None
    assert found.access == access(auth, "a")


def test_a_session_does_not_contain_the_token_and_differs_each_time() -> None:
    auth = authenticator("correct-horse")
    whose = access(auth, "correct-horse")
    assert "correct-horse" not in auth.issue_session(whose)
    assert auth.issue_session(whose) != auth.issue_session(whose)


def test_a_forged_session_is_invalid() -> None:
    auth = authenticator("a", "b")
    session = auth.issue_session(access(auth, "a"))
    version, expiry, rest = session.split(".", 2)
    for forged in (
        None,
        "",
        "x",
        "....",
        ".....",
        session[:-1],
        session + "x",
        f"{version}.{int(expiry) + 1}.{rest}",
        session.replace(access(auth, "a").fingerprint, access(auth, "b").fingerprint),
        "\ud800" + session,
        "x" * 10_000,
    ):
        assert auth.session(forged) is None


def test_a_change_of_rights_changes_open_sessions_and_a_new_token_ends_them() -> None:
    auth = authenticator("a")
    session = auth.issue_session(access(auth, "a"))
    auth.replace([Token("wall", Role.VIEWER, ("gate-*",), "a")])
    found = auth.session(session)
    assert found is not None
    assert (found.access.name, found.access.role, found.access.cameras) == ("wall", Role.VIEWER, ("gate-*",))
    auth.replace([Token("wall", Role.VIEWER, ("gate-*",), "a new one")])
    assert auth.session(session) is None


@pytest.mark.parametrize(
    ("patterns", "seen", "hidden"),
    [
        (("gate-1",), ("gate-1",), ("gate-10", "gate-", "Gate-1", "xgate-1")),
        (("gate-?", "yard*"), ("gate-1", "yard", "yard-77"), ("gate-10", "gate-", "backyard")),
        (("*-north",), ("gate-north", "-north"), ("north", "gate-north-2")),
        (("*",), ("gate-1", "x"), ()),
        (("a*b*c*d*e*f*g*h",), ("abcdefgh",), ("a" * 128, "abcdefg" * 18)),
    ],
)
def test_patterns_of_cameras(patterns: tuple[str, ...], seen: tuple[str, ...], hidden: tuple[str, ...]) -> None:
    viewer = Access("wall", Role.VIEWER, patterns)
    for camera in seen:
        assert viewer.sees(camera), camera
    for camera in hidden:
        assert not viewer.sees(camera), camera
    assert not Access("x", Role.VIEWER, ()).sees("gate-1")
    assert not viewer.sees_stream("gate-1")


def test_failures_are_limited_and_forgotten() -> None:
    clock = Clock()
    limit = FailureLimit(burst=3, interval_s=2, clock=clock)
    for _ in range(3):
        assert limit.wait_s("10.0.0.1") == 0
        limit.failed("10.0.0.1")
    assert 0 < limit.wait_s("10.0.0.1") <= 2
    assert limit.wait_s("10.0.0.2") == 0
    clock.now_s += 2
    assert limit.wait_s("10.0.0.1") == 0
    limit.failed("10.0.0.1")
    assert limit.wait_s("10.0.0.1") > 0
    clock.now_s += 100
    assert limit.wait_s("10.0.0.1") == 0


def test_a_flood_of_failures_is_forgotten_soon() -> None:
    clock = Clock()
    limit = FailureLimit(burst=10, interval_s=2, max_wait_s=10, clock=clock)
    waits = []
    for _ in range(10_000):
        waits.append(limit.wait_s("10.0.0.1"))
        limit.failed("10.0.0.1")
    assert waits[:10] == [0.0] * 10
    assert waits[10:16] == [2.0, 4.0, 6.0, 8.0, 10.0, 10.0]
    assert waits[-1] == 10.0
    clock.now_s += 10
    assert limit.wait_s("10.0.0.1") == 0


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    limit = FailureLimit(burst=1, interval_s=60)
    limit.failed("2001:db8::1")
    assert limit.wait_s("2001:db8::ffff") > 0
    assert limit.wait_s("2001:db8:0:1::1") == 0


def test_the_limit_remembers_a_bounded_number_of_addresses() -> None:
    limit = FailureLimit(max_addresses=10)
    for number in range(1000):
        limit.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(limit) == 10
