"""Addresses that users type: checking them, and showing them without a password. Pure.

Called by the settings and by whatever logs a camera's, a mirror's or a Redis' address.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote, urlsplit

from elastic_inference.domain.hidden_url import hide_in_path

NOT_ENCODED = (
    "expected no @ behind the host: percent-encode the password (@ is %40, / is %2F, # is %23, ? is %3F, : is %3A)"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def hide_password(url: str) -> str:
    """`url` without user, password and query, and with a password in the path hidden: safe for a log or a label.

    A mistyped address, or a password that is not percent-encoded, shows too little rather than too much.
    """
    scheme, separator, rest = url.partition("://")
    if not _SCHEME.fullmatch(scheme) or not separator:
        scheme, separator, rest = "", "", url
    before, at, behind = rest.rpartition("@")
    if at and "?" in before:
        # A question mark in the password and an @ in the query look the same.
        return f"{scheme}{separator}(hidden)"
    if at or separator:
        behind = re.split("[?#]", behind, maxsplit=1)[0]
    shown = f"{scheme}{separator}{behind.partition('?')[0]}"
    return hide_in_path(shown) if separator else shown


def check_host(host: str) -> str:
    """`host` if it is a bare name or address. Otherwise raises ValueError that says what is expected.

    A host that passes can be looked up without a UnicodeError.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if ":" in bare:
            ipaddress.IPv6Address(bare)
        bare.encode("idna")
        good = bool(bare) and not re.search(r"[\s/?#@,\[\]]", bare)
    except ValueError:  # includes UnicodeError
        good = False
    if not good:
        raise ValueError("expected a host name or an IP address alone, without scheme, port or path")
    return host


def split_authority(url: str) -> tuple[str, str]:
    """(login, hosts and ports; path, query and fragment) of a URL. Several hosts, as for Sentinel, are allowed."""
    rest = url.partition("://")[2]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    return authority, rest[len(authority) :]


def check_encoded(url: str) -> None:
    """Raises ValueError if the URL's password contains characters that must be percent-encoded."""
    if "@" in split_authority(url)[1]:
        raise ValueError(NOT_ENCODED)


def check_url(url: str, expected: str) -> None:
    """Raises ValueError with the text `expected` if no client could connect to the URL's address."""
    check_encoded(url)
    try:
        parts = urlsplit(url)
        check_host(parts.hostname or "")
        good = parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{expected}, with a host name or an IP address and a port from 1 to 65535")


def url_credentials(url: str) -> tuple[str | None, str | None]:
    """(user, password) in a URL, percent-decoded; None for each that is missing."""
    user, _, password = split_authority(url)[0].rpartition("@")[0].partition(":")
    return unquote(user) or None, unquote(password) or None


def with_login(url: str, user: str, password: str) -> str:
    """`url` with this login, percent-encoded, instead of the one that it may contain."""
    authority, rest = split_authority(url)
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return f"{url.partition('://')[0]}://{login}@{authority.rpartition('@')[2]}{rest}"


def in_brackets(host: str) -> str:
    """The host as written in a URL: an IPv6 address gets brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
