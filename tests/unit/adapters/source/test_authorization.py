"""Answers to a camera's challenge for a password."""

from __future__ import annotations

import hashlib
import re

from elastic_inference.adapters.source.mjpeg import authorize


def test_basic() -> None:
    assert authorize(['Basic realm="x"'], "Aladdin", "open sesame", "/") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_digest_is_preferred_and_right() -> None:
    # Users, passwords and the nonce of RFC 7616, section 3.9.1.
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    for algorithm, name in (("MD5", "md5"), ("SHA-256", "sha256")):
        answer = authorize(
            ["Basic realm=x", challenge.format(algorithm)], "Mufasa", "Circle of Life", "/dir/index.html"
        )
        assert answer is not None
        assert answer.startswith("Digest ")
        cnonce = re.search(r'cnonce="(\w+)"', answer)
        response = re.search(r'response="(\w+)"', answer)
        assert cnonce is not None
        assert response is not None

        def digest(text: str, name: str = name) -> str:
            return hashlib.new(name, text.encode()).hexdigest()

        secret = digest("Mufasa:http-auth@example.org:Circle of Life")
        nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
        request = digest("GET:/dir/index.html")
        assert response.group(1) == digest(f"{secret}:{nonce}:00000001:{cnonce.group(1)}:auth:{request}")
        assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in answer
        assert "Circle" not in answer


def test_digest_without_quality_is_the_older_form() -> None:
    answer = authorize(['Digest realm="r", nonce="n"'], "u", "p", "/v")
    assert answer is not None

    def digest(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    assert digest(f"{digest('u:r:p')}:n:{digest('GET:/v')}") in answer
    assert "qop" not in answer


def test_an_unknown_scheme_has_no_answer() -> None:
    assert authorize(["Negotiate"], "u", "p", "/") is None
    assert authorize([], "u", "p", "/") is None
    assert authorize(['Digest realm="r", nonce="n", algorithm=MD4'], "u", "p", "/") is None
