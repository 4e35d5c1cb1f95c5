"""Decides by the `Origin` header whether a web page may connect. Pure; used by gateway and websocket server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def is_allowed_origin(origins: Sequence[str], hosts: Sequence[str], allowed: Iterable[str]) -> bool:
    """Whether a page with these `Origin` headers may open a websocket at these `Host` headers.

    A client without an origin is not a browser, and may. Otherwise there must be exactly one origin: the host itself
    (port included) or one of `allowed`, such as `https://example.org`.
    """
    if not origins:
        return True
    if len(origins) != 1 or len(hosts) != 1:
        return False
    origin = origins[0].strip().lower()
    if origin in {each.strip().lower().rstrip("/") for each in allowed}:
        return True
    try:
        parts = urlsplit(origin)
        default = _DEFAULT_PORTS[parts.scheme]
        host = urlsplit(f"//{hosts[0].strip().lower()}")
        return parts.hostname is not None and (parts.hostname, parts.port or default) == (
            host.hostname,
            host.port or default,
        )
    except (KeyError, ValueError):
        return False
