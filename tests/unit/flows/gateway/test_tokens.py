"""The file of tokens: what is accepted, and that no error shows a token."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from elastic_inference.base import config
from elastic_inference.domain.errors import SettingError
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.tokens import TokensFileError, admin_token
from elastic_inference.flows.gateway.tokens_document import MAX_FILE_BYTES, MAX_TOKENS, parse_tokens, read_file

SECRET = "s3cret-token-of-the-wall"
ENTRY = {"name": "wall", "role": "viewer", "token": SECRET, "cameras": ["gate-*", "yard-1"]}


def parse(*entries: Any, **more: Any) -> Any:
    return parse_tokens(json.dumps({"tokens": list(entries), **more}).encode())


def test_tokens_have_a_name_a_role_and_cameras() -> None:
    wall, boss = parse(ENTRY, {"name": "boss", "role": "admin", "token": "x" * 12})
    assert (wall.name, wall.role, wall.cameras, wall.text) == ("wall", Role.VIEWER, ("gate-*", "yard-1"), SECRET)
    assert (boss.role, boss.cameras) == (Role.ADMIN, ("*",))
    assert SECRET not in repr(wall)
    assert parse() == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role": "root"}, "tokens, entry 1, role: Input should be 'admin' or 'viewer'"),
        ({"role": None}, "entry 1, role"),
        ({"cameras": []}, "entry 1, cameras"),
        ({"cameras": "gate-1"}, "entry 1, cameras"),
        ({"cameras": ["gate 1"]}, "entry 1, cameras, entry 1: expected a camera's name"),
        ({"cameras": ["[a-z]"]}, "expected a camera's name"),
        ({"cameras": ["x"] * 1000}, "entry 1, cameras"),
        ({"name": ""}, "entry 1, name: expected at most 64"),
        ({"name": "a\nforged line"}, "entry 1, name: expected at most 64"),
        ({"token": SECRET + "\n"}, "entry 1, token: expected a token without spaces"),
        ({"token": "s3cret\x00token-of-the-wall"}, "entry 1, token: expected a token of visible"),
        ({"token": "s3cret"}, "entry 1, token: expected a token of at least 12"),
        ({"token": "s3cret" * 200}, "entry 1, token: expected a token of at most 1024"),
        ({"token": 123456789012}, "entry 1, token"),
        ({SECRET: "admin"}, "tokens, entry 1: expected no keys other"),
    ],
)
def test_mistakes_are_named_without_the_token(change: dict[str, Any], words: str) -> None:
    with pytest.raises(TokensFileError) as caught:
        parse({**ENTRY, **change})
    text = str(caught.value)
    assert words in text
    assert "s3cret" not in text
    assert text.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"[]", b"{}", b"null", b"tokens:\n- s3cret", b'{"tokens": {"s3cret": "admin"}}'),
        *(b'{"tokens": [], "s3cret": 1}', b'{"tokens": ["s3cret"]}', b"[" * 100_000),
    ],
)
def test_other_content_is_refused_without_being_shown(content: bytes) -> None:
    with pytest.raises(TokensFileError) as caught:
        parse_tokens(content)
    assert "s3cret" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_viewer_needs_cameras() -> None:
    with pytest.raises(TokensFileError, match="entry 2: expected a viewer's"):
        parse(ENTRY, {"name": "b", "role": "viewer", "token": "y" * 12})


def test_names_and_tokens_are_unique() -> None:
    with pytest.raises(TokensFileError, match="each name once"):
        parse(ENTRY, {**ENTRY, "token": "y" * 12})
    with pytest.raises(TokensFileError, match="each token once"):
        parse(ENTRY, {**ENTRY, "name": "other"})
    with pytest.raises(TokensFileError, match="GATEWAY_TOKEN counts"):
        parse_tokens(json.dumps({"tokens": [ENTRY]}).encode(), [admin_token(SECRET)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"tokens": [], "tokens": []}', "tokens: expected each key once"),
        ('{"tokens": [{"token": "s3cret-s3cret"}], "tokens": []}', "tokens: expected each key once"),
        (f'{{"tokens": [{{"role": "viewer", {json.dumps(ENTRY)[1:]}]}}', "entry wall, role: expected each key once"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(content: str, words: str) -> None:
    with pytest.raises(TokensFileError) as caught:
        parse_tokens(content.encode())
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_the_file_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(TokensFileError, match="tokens"):
        parse(*({**ENTRY, "name": str(each), "token": f"{each:020}"} for each in range(MAX_TOKENS + 1)))
    large = tmp_path / "large"
    large.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    os.mkfifo(pipe := tmp_path / "pipe")
    for path, words in (
        (large, "at most 512 kB"),
        (tmp_path / "none", "readable file"),
        (tmp_path, "expected a"),
        (pipe, "expected a file"),
    ):
        with pytest.raises(TokensFileError, match=words):
            read_file(path)


@pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\x7fb", "x" * 1025, "a\x85b", "caf\udce9"])
def test_a_gateway_token_that_could_never_be_right_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"^GATEWAY_TOKEN='\(hidden\)' is not accepted: ") as caught:
        config.load(config.GatewaySettings, {"GATEWAY_TOKEN": text})
    assert text not in str(caught.value)
    if "\udce9" in text:
        return
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(SettingError, match=r"^GATEWAY_TOKEN_FILE=.*expected a token"):
        _ = config.load(config.GatewaySettings, {"GATEWAY_TOKEN_FILE": str(file)}).token


@pytest.mark.parametrize("text", ["correct horse battery", "Schlüssel-für-alle", "x" * 1024, '!"§$%&/()=?'])
def test_every_other_gateway_token_is_accepted(text: str) -> None:
    token = config.load(config.GatewaySettings, {"GATEWAY_TOKEN": f" {text}\n"}).token
    assert token is not None
    assert token.get_secret_value() == text
