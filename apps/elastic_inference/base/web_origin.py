"""Decides by the `Origin` header whether a web page may connect. Pure; used by the gateway and the websocket server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from elastic_inference.base.forwarded import Client

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


def refusal_reason(origins: Sequence[str], hosts: Sequence[str], client: Client, peer: str) -> str:
    """Why a page's origin is refused and what to do, for the log and for the dashboard."""
    text = f"Pages of {_shown(origins)} are refused: this server was addressed as {_shown(hosts)}. "
    if client.from_stranger:
        return text + f"The headers of the proxy at {peer} do not count: add its address to TRUSTED_PROXIES."
    if client.host:
        return text + "Let the proxy pass the browser's host and port in X-Forwarded-Host, or set ALLOWED_ORIGINS."
    return text + "Let a proxy pass the browser's Host header, or add the origin to ALLOWED_ORIGINS."


def _shown(values: Sequence[str]) -> str:
    """The values of a header, safe in a line of a log."""
    return ascii(", ".join(values)[:120])[1:-1] or "(none)"


def origin_of(address: str) -> str:
    """The origin of a page's address, such as `https://example.org`; empty for anything else."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else ""
