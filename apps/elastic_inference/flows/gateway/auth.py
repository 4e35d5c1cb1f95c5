"""Decides who may use the gateway: tokens, signed sessions, and the limit on wrong tokens.

Called by the request handlers. Pure: uses no HTTP library and no socket. Sessions are not stored: each names its token
by a fingerprint and is signed with a key made from it, so every replica with the same token accepts them. A logout ends
a session in its own browser only; a token that is removed or replaced ends all of its sessions.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elastic_inference.domain.access_token import MAX_TOKEN_LENGTH
from elastic_inference.flows.gateway.access import EVERYBODY, Access
from elastic_inference.flows.gateway.tokens import Token

SESSION_COOKIE = "ei_session"
SESSION_LIFE_S = 7 * 24 * 3600
# An older session is renewed when the page asks for it, so that a wall display stays logged in.
SESSION_RENEW_AFTER_S = 24 * 3600
# Sessions of the former form have no fingerprint: they always belong to GATEWAY_TOKEN.
_VERSION, _FORMER_VERSION = "2", "1"


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A valid session."""

    access: Access
    left_s: float


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept of a token: its rights, and the key that signs its sessions."""

    access: Access
    key: bytes


class Authenticator:
    """Checks tokens and sessions. If no token is `required`, everyone may do everything."""

    def __init__(self, tokens: Sequence[Token], *, required: bool, clock: Callable[[], float] = time.time) -> None:
        """The first token signs sessions of the former form. `clock` returns Unix seconds."""
        self.required = required
        self._clock = clock
        # Tokens are looked up by a digest with this key, so that a look-up's duration reveals nothing about them.
        self._digest_key = secrets.token_bytes(32)
        self._by_digest: dict[bytes, _Known] = {}
        self._by_fingerprint: dict[str, _Known] = {}
        self._former: _Known | None = None
        self.replace(tokens)

    def replace(self, tokens: Sequence[Token]) -> None:
        """Accepts these tokens and no others from now on."""
        known = [(each, _known(each)) for each in tokens]
        self._by_digest = {self._digest(token.text): found for token, found in known}
        self._by_fingerprint = {found.access.fingerprint: found for _, found in known}
        self._former = known[0][1] if known else None

    def access_of(self, text: str) -> Access | None:
        """The rights of a token, None for a wrong one. Takes the same time for all texts of the same length."""
        if not self.required or len(text) > MAX_TOKEN_LENGTH:
            return None
        found = self._by_digest.get(self._digest(text))
        return found.access if found else None

    def current(self, access: Access) -> Access | None:
        """The present rights of `access`; None if its token has been removed."""
        if not self.required:
            return EVERYBODY
        found = self._by_fingerprint.get(access.fingerprint)
        return found.access if found else None

    def issue_session(self, access: Access) -> str:
        """Cookie value of a new session: expiry, a random part, the fingerprint and their signature."""
        expiry = int(self._clock()) + SESSION_LIFE_S
        body = f"{_VERSION}.{expiry}.{secrets.token_urlsafe(12)}.{access.fingerprint}"
        return f"{body}.{_sign(self._by_fingerprint[access.fingerprint].key, body)}"

    def session(self, value: str | None) -> BrowserSession | None:
        """The session of a cookie; None if it has expired, is forged or missing, or its token has been removed."""
        if not value or len(value) > 256:
            return None
        body, _, signature = value.rpartition(".")
        parts = body.split(".")
        if len(parts) == 4 and parts[0] == _VERSION:
            known = self._by_fingerprint.get(parts[3])
        elif len(parts) == 3 and parts[0] == _FORMER_VERSION:
            known = self._former
        else:
            known = None
        if known is None or not hmac.compare_digest(
            _sign(known.key, body).encode(), signature.encode("utf-8", "replace")
        ):
            return None
        left_s = int(parts[1]) - self._clock() if parts[1].isdecimal() else 0.0
        return BrowserSession(known.access, left_s) if left_s > 0 else None

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._digest_key, text.encode("utf-8", "replace"), hashlib.sha256)


def _known(token: Token) -> _Known:
    secret = token.text.encode()
    fingerprint = base64.urlsafe_b64encode(hmac.digest(secret, b"elastic-inference token", hashlib.sha256)[:12])
    return _Known(
        Access(token.name, token.role, token.cameras, fingerprint.decode()),
        hmac.digest(secret, b"elastic-inference session", hashlib.sha256),
    )


def _sign(key: bytes, body: str) -> str:
    mac = hmac.digest(key, body.encode("utf-8", "replace"), hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


class FailureLimit:
    """Limits wrong tokens per address: `burst` at once, then one per `interval_s`. Memory and waits are bounded.

    A valid token is never limited, so nobody can shut others out by guessing from their address.
    """

    def __init__(
        self,
        burst: int = 10,
        interval_s: float = 2.0,
        max_wait_s: float = 10.0,
        max_addresses: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst, self._interval_s = burst, interval_s
        self._max_wait_s = max_wait_s
        self._max = max_addresses
        self._clock = clock
        # Address -> the time at which all its failures are forgotten: a leaky bucket in one number.
        self._clear_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until a wrong token from this address is answered without delay again; 0 if there is no delay now."""
        clear_at = self._clear_at.get(_network(address), 0.0)
        return max(0.0, clear_at - self._clock() - (self._burst - 1) * self._interval_s)

    def failed(self, address: str) -> None:
        """Counts a wrong token from this address."""
        key = _network(address)
        now = self._clock()
        # Bounded, so that a user who mistypes a token after a long attack does not have to wait long.
        highest = now + (self._burst - 1) * self._interval_s + self._max_wait_s
        self._clear_at[key] = min(max(self._clear_at.get(key, 0.0), now) + self._interval_s, highest)
        self._clear_at.move_to_end(key)
        while len(self._clear_at) > self._max:
            self._clear_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._clear_at)


def _network(address: str) -> str:
    """The network that failures count for: an IPv6 host can have 2^64 addresses, which count as one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
