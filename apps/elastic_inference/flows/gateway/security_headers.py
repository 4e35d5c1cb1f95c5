"""The headers of every response of the gateway. Pure; used by the handlers and by `bad_request`."""

from __future__ import annotations

import re

_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")
# Browsers then use HTTPS for this host name, for half a year after the last visit.
_STRICT = "max-age=15552000"


def security_headers(host: str, secure: bool) -> dict[str, str]:
    """The headers by name. `host` is the host of the request; `secure` is whether it came by HTTPS."""
    own = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    headers = {
        "Server": "elastic-inference",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self'; font-src 'self'; "
        f"img-src 'self' blob: data:; connect-src 'self'{own}; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'self'",
    }
    if secure:
        headers["Strict-Transport-Security"] = _STRICT
    return headers
