"""Targets that decide about access to the gateway: host names, the file of tokens, and sessions."""

from __future__ import annotations

import functools
import json

from hypothesis import strategies as st

from elastic_inference.base.allowed_hosts import AllowedHosts, check_host_names, host_refusal
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.auth import Authenticator
from elastic_inference.flows.gateway.tokens import Token, TokensFileError, admin_token
from elastic_inference.flows.gateway.tokens_document import parse_tokens
from tests.fuzz.target import Target

_SECRET = "a-token-that-nobody-may-see"
_OWN = Token("wall", Role.VIEWER, ("gate-*",), _SECRET)


def _hosts(data: bytes) -> None:
    lines = data.decode("latin-1").split("\n")
    hosts = AllowedHosts(["*.example.org", "video.example.com."], "Machine.local")
    if hosts.allow(lines):
        # Only a name that a foreign site can't have may be allowed.
        assert len(lines) == 1
        name = lines[0].strip().lower()
        good = ("example.org", "video.example.com", "machine", "localhost", ".local")
        assert name[:1] in "[0123456789:" or any(each in name for each in good), name
    assert len(host_refusal(lines)) < 800
    for line in lines:
        check_host_names((line,))


def _host_seeds() -> list[bytes]:
    return [b"video.example.com:8443", b"[::1]:5000", b"a.b.example.org.", b"127.0.0.1", b"LOCALHOST:80", b"*.x"]


def _tokens(data: bytes) -> None:
    try:
        tokens = parse_tokens(data, [admin_token(_SECRET)])
    except TokensFileError as error:
        assert _SECRET not in str(error)
        raise
    auth = Authenticator(tokens, required=True)
    for each in tokens:
        assert each.text not in repr(each)
        access = auth.access_of(each.text)
        assert access is not None
        assert access.sees_all or not access.sees_stream("not an id")
        assert auth.session(auth.issue_session(access)) is not None


def _token_seeds() -> list[bytes]:
    entries = [
        {"name": "boss", "role": "admin", "token": "the-token-of-boss"},
        {"name": "wall", "role": "viewer", "token": _SECRET[:-1], "cameras": ["gate-*", "y?"]},
    ]
    return [json.dumps({"tokens": entries}).encode(), b'{"tokens": []}']


def _token_inputs() -> st.SearchStrategy[bytes]:
    values = st.one_of(
        st.none(), st.integers(), st.text(max_size=20), st.lists(st.text(alphabet="a*?[]!-.", max_size=12), max_size=3)
    )
    texts = st.sampled_from(["admin", "viewer", _SECRET, "\ud800" + _SECRET, "x" * 2000]) | values
    keys = st.sampled_from(["name", "role", "token", "cameras", "more"])
    good = {"name": "wall", "role": "viewer", "token": "the-token-of-wall", "cameras": ["gate-*"]}
    entries = st.lists(st.dictionaries(keys, texts, max_size=3).map(lambda each: {**good, **each}), max_size=3)
    return entries.map(lambda each: json.dumps({"tokens": each}).encode())


@functools.cache
def _authenticator() -> Authenticator:
    return Authenticator([admin_token(_SECRET), _OWN], required=True)


def _session(data: bytes) -> None:
    text = data.decode("latin-1")
    auth = _authenticator()
    assert auth.session(text) is None, "a session that nobody issued"
    assert auth.access_of(text) is None or text == _SECRET


def _session_seeds() -> list[bytes]:
    """Sessions that another installation has signed, in both forms."""
    foreign = Authenticator([Token("wall", Role.VIEWER, ("*",), "another installation's")], required=True)
    access = foreign.access_of("another installation's")
    assert access is not None
    return [foreign.issue_session(access).encode(), b"1.9999999999.x.y"]


TARGETS = (
    Target("host names", _hosts, (ValueError,), _host_seeds),
    Target("files of tokens", _tokens, (TokensFileError,), _token_seeds, _token_inputs),
    Target("sessions", _session, (), _session_seeds),
)
