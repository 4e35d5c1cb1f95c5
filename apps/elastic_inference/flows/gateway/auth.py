"""Who may use the gateway: the token, signed sessions, and the limit on wrong tokens.

Called by the request handlers. Pure: uses no HTTP library and no socket. Sessions are not stored: they are signed
with a key made from the token, so every replica with the same token accepts them. A logout ends a session in its own
browser only; a new token ends all sessions.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from elastic_inference.domain.rest import MAX_TOKEN_LENGTH

SESSION_COOKIE = "ei_session"
SESSION_LIFE_S = 7 * 24 * 3600
# An older session is renewed when the page asks for it, so that a wall display stays logged in.
SESSION_RENEW_AFTER_S = 24 * 3600
_VERSION = "1"


class Authenticator:
    """Checks tokens and sessions. Without a token, everything is allowed."""

    def __init__(self, token: str | None, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix seconds."""
        self._token = None if token is None else token.encode()
        self._clock = clock
        self._key = hmac.digest(self._token or secrets.token_bytes(32), b"elastic-inference session", hashlib.sha256)

    @property
    def required(self) -> bool:
        """Whether requests need a token or a session."""
        return self._token is not None

    def is_token(self, text: str) -> bool:
        """Whether `text` is the token; takes equally long for all wrong ones of the same length."""
        if self._token is None or len(text) > MAX_TOKEN_LENGTH:
            return False
        return hmac.compare_digest(
            hashlib.sha256(text.encode("utf-8", "replace")).digest(), hashlib.sha256(self._token).digest()
        )

    def issue_session(self) -> str:
        """Cookie value of a new session: expiry, a random part and their signature, but not the token."""
        expiry = int(self._clock()) + SESSION_LIFE_S
        body = f"{_VERSION}.{expiry}.{secrets.token_urlsafe(12)}"
        return f"{body}.{self._sign(body)}"

    def session_left_s(self, value: str | None) -> float:
        """Seconds until a session expires; 0 if it has expired, is forged or missing."""
        if not value or len(value) > 256:
            return 0.0
        body, _, signature = value.rpartition(".")
        if not hmac.compare_digest(self._sign(body).encode(), signature.encode("utf-8", "replace")):
            return 0.0
        parts = body.split(".")
        if len(parts) != 3 or parts[0] != _VERSION or not parts[1].isdecimal():
            return 0.0
        return max(0.0, int(parts[1]) - self._clock())

    def _sign(self, body: str) -> str:
        mac = hmac.digest(self._key, body.encode("utf-8", "replace"), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


class FailureLimit:
    """Limits wrong tokens per address: `burst` at once, then one per `interval_s`. Its memory is bounded."""

    def __init__(
        self,
        burst: int = 10,
        interval_s: float = 2.0,
        max_addresses: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._interval_s = interval_s
        self._max = max_addresses
        self._clock = clock
        # Address -> the time at which all its failures are forgotten: a leaky bucket in one number.
        self._clear_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 if it may try now."""
        clear_at = self._clear_at.get(_network(address), 0.0)
        return max(0.0, clear_at - self._clock() - (self._burst - 1) * self._interval_s)

    def failed(self, address: str) -> None:
        """Counts a wrong token from this address."""
        key = _network(address)
        self._clear_at[key] = max(self._clear_at.get(key, 0.0), self._clock()) + self._interval_s
        self._clear_at.move_to_end(key)
        while len(self._clear_at) > self._max:
            self._clear_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._clear_at)


def _network(address: str) -> str:
    """The address to count by: an IPv6 host can have 2^64 addresses, which count as one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
