"""Checks that an access token of the gateway arrives unchanged when a client sends it."""

from __future__ import annotations

import unicodedata

MAX_TOKEN_LENGTH = 1024


def check_access_token(text: str) -> str:
    """Returns `text` if it can be a token. Otherwise raises ValueError, whose message does not contain it.

    The login page and the `Authorization` header both strip spaces at the ends, and a header can't carry control
    characters.
    """
    if not text:
        raise ValueError("expected a token, but it is empty")
    if len(text) > MAX_TOKEN_LENGTH:
        raise ValueError(f"expected a token of at most {MAX_TOKEN_LENGTH} characters, but it has {len(text)}")
    if text != text.strip():
        raise ValueError("expected a token without spaces at its ends, which no client can send")
    # Cc: control characters, line breaks included. Cs: lone surrogates, from bytes that are not UTF-8.
    if any(unicodedata.category(each) in ("Cc", "Cs") for each in text):
        raise ValueError("expected a token of visible characters, without control characters and line breaks, as UTF-8")
    return text
