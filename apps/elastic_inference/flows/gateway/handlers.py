"""What every answer of the gateway shares: headers, JSON errors, the check of token, session and origin.

Base of the handlers in `api` and `pages`. Knows Tornado.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import responses
from typing import Any

from pydantic_core import to_json
from tornado.web import HTTPError, RequestHandler

from elastic_inference.base.metrics import GatewayMetrics
from elastic_inference.base.web_origin import is_allowed_origin
from elastic_inference.domain.rest import Error, ErrorCode, ErrorDetail
from elastic_inference.flows.gateway.assets import AssetFolder
from elastic_inference.flows.gateway.auth import SESSION_COOKIE, Authenticator, FailureLimit
from elastic_inference.flows.gateway.events import EventHub
from elastic_inference.flows.gateway.pool_state import NothingKnownError, PoolState
from elastic_inference.flows.gateway.snapshots import Snapshots

log = logging.getLogger(__name__)

CODES = {
    400: ErrorCode.BAD_REQUEST,
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    426: ErrorCode.BAD_REQUEST,
    429: ErrorCode.TOO_MANY,
    502: ErrorCode.BAD_GATEWAY,
    503: ErrorCode.UNAVAILABLE,
    504: ErrorCode.NO_FRAME,
}
_HOST = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


@dataclass
class Gateway:
    """What the handlers work with."""

    state: PoolState
    hub: EventHub
    snapshots: Snapshots
    auth: Authenticator
    metrics: GatewayMetrics
    assets: AssetFolder
    openapi: bytes
    upstream: tuple[str, int]
    max_tunnels: int
    allowed_origins: tuple[str, ...] = ()
    tls: bool = False
    failures: FailureLimit = field(default_factory=FailureLimit)
    # How to end each open tunnel; `opening` more are being joined.
    tunnels: set[Callable[[], object]] = field(default_factory=set)
    opening: int = 0
    # Requests that are being answered, events and tunnels included.
    busy: int = 0


class ApiError(HTTPError):
    """An answer that is an error: its status, and a sentence for people."""

    def __init__(self, status: int, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(status)
        self.text = message
        self.retry_after_s = retry_after_s


class BaseHandler(RequestHandler):
    """Every handler of the gateway. `needs_login` is false for what the login itself takes."""

    needs_login = True
    gateway: Gateway

    def initialize(self, gateway: Gateway) -> None:
        """Called by Tornado for each request."""
        self.gateway = gateway
        gateway.busy += 1

    def on_finish(self) -> None:
        """Called by Tornado when the answer is complete."""
        self.gateway.busy -= 1

    def set_default_headers(self) -> None:
        """Also called when an error starts the answer anew."""
        host = self.request.host
        own = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
        self.set_header("Server", "elastic-inference")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")
        self.set_header(
            "Content-Security-Policy",
            "default-src 'self'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' blob: data:; "
            f"connect-src 'self'{own}; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
            "form-action 'self'; frame-ancestors 'self'",
        )

    def prepare(self) -> None:
        """Refuses who may not be here, before anything is read or done."""
        if self.needs_login:
            self.check_login()

    def check_login(self) -> None:
        """Raises ApiError 401 or 429 unless the request carries the token or a session."""
        auth = self.gateway.auth
        if not auth.required or auth.session_left_s(self.get_cookie(SESSION_COOKIE)) > 0:
            return
        scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise ApiError(401, "This needs a login: send the token as 'Authorization: Bearer …' or log in.")
        self.check_token(credentials.strip())

    def check_token(self, token: str) -> None:
        """Raises ApiError 401 for a wrong token, 429 after too many of this address."""
        address = str(self.request.remote_ip)
        wait_s = self.gateway.failures.wait_s(address)
        if wait_s > 0:
            raise ApiError(429, "Too many wrong tokens from this address: try again in a moment.", wait_s)
        if not self.gateway.auth.is_token(token):
            self.gateway.failures.failed(address)
            raise ApiError(401, "The token is wrong.")

    def check_origin(self) -> None:
        """Raises ApiError 403 for a page of another site. Programs send no origin and may."""
        headers = self.request.headers
        if not is_allowed_origin(headers.get_list("Origin"), headers.get_list("Host"), self.gateway.allowed_origins):
            raise ApiError(403, "Pages of this origin may not do this: see ALLOWED_ORIGINS.")

    def answer_json(self, document: object) -> None:
        """Ends the answer with a document."""
        self.set_header("Content-Type", "application/json")
        self.finish(to_json(document))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as JSON, whoever raised it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ApiError):
            message = error.text
            if error.retry_after_s is not None:
                self.set_header("Retry-After", str(max(1, round(error.retry_after_s))))
        elif status_code == 405:
            message = f"{self.request.method} is not possible here."
        elif status_code == 404:
            message = f"There is nothing at {self.request.path[:200]}."
        else:
            phrase = responses.get(status_code, "This can't be answered")
            message = f"{phrase}." if status_code < 500 else "The gateway failed at this: its log says why."
        if status_code == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="elastic-inference"')
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.allowed_methods()))
        code = CODES.get(status_code, ErrorCode.INTERNAL if status_code >= 500 else ErrorCode.BAD_REQUEST)
        self.answer_json(Error(ErrorDetail(code, message)))

    def allowed_methods(self) -> list[str]:
        """Methods that this handler has."""
        return [
            name
            for name in ("GET", "HEAD", "POST")
            if getattr(type(self), name.lower()) is not getattr(RequestHandler, name.lower())
        ]

    def compute_etag(self) -> str | None:
        """None: what is never stored needs no tag."""
        return None

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """A refusal is no news; anything else is a bug and shows its traceback."""
        if isinstance(value, HTTPError):
            log.debug("%s %s: %s", self.request.method, self.request.path, value)
        elif isinstance(value, NothingKnownError):
            log.debug("%s: %s", self.request.path, value)
        else:
            super().log_exception(typ, value, tb)
