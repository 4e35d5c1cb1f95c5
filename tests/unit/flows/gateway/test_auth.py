"""Tokens, sessions and the limit on wrong tokens."""

from __future__ import annotations

import pytest

from elastic_inference.flows.gateway.auth import SESSION_LIFE_S, Authenticator, FailureLimit


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_only_the_token_is_the_token() -> None:
    auth = Authenticator("correct horse")
    assert auth.required
    assert auth.is_token("correct horse")
    for wrong in ("", "correct", "correct horse ", "CORRECT HORSE", "x" * 5000, "\ud800"):
        assert not auth.is_token(wrong)


def test_without_a_token_no_login_is_required() -> None:
    assert not Authenticator(None).required
    assert not Authenticator(None).is_token("")


def test_a_session_is_valid_until_it_expires_on_every_replica_with_the_same_token() -> None:
    clock = Clock()
    first, second, other = Authenticator("a", clock), Authenticator("a", clock), Authenticator("b", clock)
    session = first.issue_session()
    assert second.session_left_s(session) == pytest.approx(SESSION_LIFE_S)
    assert other.session_left_s(session) == 0
    clock.now_s += SESSION_LIFE_S
    assert first.session_left_s(session) == 0


def test_a_session_does_not_contain_the_token_and_differs_each_time() -> None:
    auth = Authenticator("correct-horse")
    assert "correct-horse" not in auth.issue_session()
    assert auth.issue_session() != auth.issue_session()


def test_a_forged_session_is_invalid() -> None:
    auth = Authenticator("a")
    session = auth.issue_session()
    version, expiry, rest = session.split(".", 2)
    for forged in (
        None,
        "",
        "x",
        "....",
        session[:-1],
        session + "x",
        f"{version}.{int(expiry) + 1}.{rest}",
        "\ud800" + session,
        "x" * 10_000,
    ):
        assert auth.session_left_s(forged) == 0


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
