"""The file of `GATEWAY_TOKENS_FILE`, read and checked. No error here contains a token.

Called by `tokens_file`, at the start and after changes. Loaded only if there is such a file.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from elastic_inference.domain.access_token import check_access_token
from elastic_inference.domain.fields import shown_key
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.access import ALL_CAMERAS
from elastic_inference.flows.gateway.tokens import Token, TokensFileError

MAX_FILE_BYTES = 512 * 1024
MAX_TOKENS = 500
MAX_PATTERNS = 200
# Users choose the tokens in files themselves, and guessing is slowed down but not blocked.
MIN_LENGTH = 12
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
_PATTERN = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9._*?-]{0,127}")


def _check_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("expected at most 64 letters, digits, spaces, '.', '_', '@' or '-'")
    return text


def _check_pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text):
        raise ValueError("expected a camera's name, in which * matches any characters and ? a single one")
    return text


def _check_text(secret: SecretStr) -> SecretStr:
    text = check_access_token(secret.get_secret_value())
    if len(text) < MIN_LENGTH:
        raise ValueError(f"expected a token of at least {MIN_LENGTH} characters")
    return secret


class _TokenEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)

    name: Annotated[str, AfterValidator(_check_name)]
    role: Role
    token: Annotated[SecretStr, AfterValidator(_check_text)]
    cameras: Annotated[
        list[Annotated[str, AfterValidator(_check_pattern)]], Field(min_length=1, max_length=MAX_PATTERNS)
    ] = []


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)

    tokens: Annotated[list[_TokenEntry], Field(max_length=MAX_TOKENS)]


def read_file(path: Path) -> bytes:
    """The content of a file of tokens. Raises TokensFileError if there is none, or it is too large."""
    try:
        # Opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise TokensFileError("expected a file")
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TokensFileError(f"expected a readable file ({error.strerror or type(error).__name__})") from None
    if len(content) > MAX_FILE_BYTES:
        raise TokensFileError(f"expected at most {MAX_FILE_BYTES // 1024} kB")
    return content


def parse_tokens(content: bytes, others: Sequence[Token] = ()) -> tuple[Token, ...]:
    """The tokens in a file's content; `others` are accepted beside them. Raises TokensFileError."""
    try:
        entries = _Document.model_validate_json(content).tokens
        # Pydantic takes the last value of a key that is given twice.
        json.loads(content, object_pairs_hook=_each_key_once)
    except ValidationError as error:
        raise TokensFileError(_words(error)) from None
    tokens = tuple(_token(number, entry) for number, entry in enumerate(entries, 1))
    for kind, values in (
        ("name", [each.name for each in tokens]),
        ("token", [each.text for each in (*others, *tokens)]),
    ):
        if len(set(values)) != len(values):
            raise TokensFileError(f"expected each {kind} once" + (" (GATEWAY_TOKEN counts too)" if others else ""))
    return tokens


def _each_key_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        key = next(key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at]))
        names = [value for name, value in pairs if name == "name" and isinstance(value, str) and _NAME.fullmatch(value)]
        where = f"entry {names[0]}, " if names else ""
        raise TokensFileError(f"{where}{shown_key(key)}: expected each key once")
    return found


def _token(number: int, entry: _TokenEntry) -> Token:
    if entry.role is Role.VIEWER and not entry.cameras:
        raise TokensFileError(f'tokens, entry {number}: expected a viewer\'s "cameras", such as ["gate-*"]')
    cameras = tuple(sorted(set(entry.cameras))) or ALL_CAMERAS
    return Token(entry.name, entry.role, cameras, entry.token.get_secret_value())


def _words(error: ValidationError) -> str:
    """Says where the first mistake is and what was expected. Shows no unknown key: it may be a misplaced token."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    words = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return f'expected JSON: {{"tokens": [{{"name": …, "role": …, "token": …, "cameras": […]}}]}} ({words})'
    location = list(first["loc"])
    if first["type"] == "extra_forbidden":
        location, words = location[:-1], "expected no keys other than name, role, token and cameras"
    shown = ", ".join(f"entry {part + 1}" if isinstance(part, int) else part for part in location)
    return f"{shown or 'the file'}: {words}"
