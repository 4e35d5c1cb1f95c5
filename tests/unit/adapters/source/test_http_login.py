"""Answers to a camera's login challenge."""

from __future__ import annotations

import hashlib
import re

import pytest

from elastic_inference.adapters.source.http_login import HttpLogin, challenges

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"


def answer(headers: list[str], login: tuple[str, str] = ("u", "p"), target: str = "/") -> str | None:
    login_of = HttpLogin(*login)
    return None if login_of.accept(headers) else login_of.header("GET", target)


def field(header: str, name: str) -> str:
    found = re.search(rf'{name}="?([^",]+)', header)
    assert found is not None, header
    return found.group(1)


def test_basic() -> None:
    assert answer(['Basic realm="x"'], ("Aladdin", "open sesame")) == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth-int,auth", "auth-int"])
def test_digest_is_preferred_and_correct(algorithm: str, qop: str) -> None:
    # User, password and nonce of RFC 7616, section 3.9.1; the formulas of its section 3.4.
    digest_header = (
        f'Digest realm="http-auth@example.org", qop="{qop}", algorithm={algorithm}, '
        f'nonce="{NONCE}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    for headers in (["Basic realm=x", digest_header], [f'Basic realm="a, b", {digest_header}']):
        header = answer(headers, ("Mufasa", "Circle of Life"), "/dir/index.html")
        assert header is not None
        assert header.startswith("Digest ")

        def digest(text: str) -> str:
            return hashlib.new("sha256" if "SHA" in algorithm else "md5", text.encode()).hexdigest()

        own, quality = field(header, "cnonce"), "auth" if "auth" in qop.split(",") else "auth-int"
        secret = digest("Mufasa:http-auth@example.org:Circle of Life")
        if algorithm.endswith("sess"):
            secret = digest(f"{secret}:{NONCE}:{own}")
        request = "GET:/dir/index.html" + (f":{digest('')}" if quality == "auth-int" else "")
        assert field(header, "response") == digest(f"{secret}:{NONCE}:00000001:{own}:{quality}:{digest(request)}")
        assert field(header, "algorithm") == algorithm
        assert "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS" in header
        assert "Circle" not in header


def test_digest_without_quality_is_the_older_form() -> None:
    header = answer(['Digest realm="r", nonce="n"'], target="/v")
    assert header is not None

    def digest(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    assert digest(f"{digest('u:r:p')}:n:{digest('GET:/v')}") in header
    assert "qop" not in header


def test_the_strongest_digest_is_used_and_each_use_counted() -> None:
    login = HttpLogin("u", "p")
    assert (
        login.accept(
            [
                'Digest realm="r", nonce="n", algorithm=MD5, qop="auth", '
                'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"'
            ]
        )
        is None
    )
    first, second = login.header("GET", "/") or "", login.header("GET", "/") or ""
    assert "SHA-256" in first
    assert (field(first, "nc"), field(second, "nc")) == ("00000001", "00000002")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (["Negotiate"], "negotiate, expected Digest or Basic"),
        ([], "none, expected"),
        (['Digest realm="r", nonce="n", algorithm=MD4'], "MD4, expected MD5 or SHA-256"),
        (['Digest realm="r", nonce="n", algorithm=MD4', 'Basic realm="r"'], "MD4, expected MD5 or SHA-256"),
    ],
)
def test_a_login_that_is_not_supported_is_named_and_basic_never_replaces_digest(headers: list[str], why: str) -> None:
    login = HttpLogin("u", "p")
    assert why in (login.accept(headers) or "")
    assert login.header("GET", "/") is None


def test_a_stale_nonce_is_distinguished_from_a_wrong_password() -> None:
    login = HttpLogin("u", "p")
    assert login.stale(['Digest realm="r", nonce="n2", stale=TRUE'])
    assert not login.stale(['Digest realm="r", nonce="n2", stale=false', 'Digest realm="r", nonce="n2"'])


def test_quoted_commas_and_equals_signs_stay_in_their_values() -> None:
    (only,) = challenges(['Digest realm="a, Basic x=1", nonce="n=="'])
    assert (only.scheme, only.fields) == ("digest", {"realm": "a, Basic x=1", "nonce": "n=="})
