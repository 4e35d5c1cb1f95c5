"""Base of the handlers in `api` and `pages`: headers, JSON errors, and the check of token, session and origin."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

from elastic_inference.base.allowed_hosts import AllowedHosts, host_refusal
from elastic_inference.base.connections import Place, WriteWatch
from elastic_inference.base.forwarded import Network, client_of
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import GatewayMetrics
from elastic_inference.base.web_origin import is_allowed_origin, refusal_reason
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.access import EVERYBODY, Access
from elastic_inference.flows.gateway.assets import AssetFolder
from elastic_inference.flows.gateway.auth import SESSION_COOKIE, Authenticator, BrowserSession, FailureLimit
from elastic_inference.flows.gateway.client_streams import ClientStream, TlsClientStream
from elastic_inference.flows.gateway.events import EventHub
from elastic_inference.flows.gateway.login_places import LoginPlaces
from elastic_inference.flows.gateway.open_connections import OpenConnections
from elastic_inference.flows.gateway.pool_state import NoDataYetError, PoolState
from elastic_inference.flows.gateway.rest_parts import RestParts
from elastic_inference.flows.gateway.security_headers import security_headers
from elastic_inference.flows.gateway.snapshot_client import SnapshotClient

log = logging.getLogger(__name__)

_READING = ("GET", "HEAD")
# Maximum delay of the answer to a wrong token.
WRONG_TOKEN_PAUSE_S = 10.0
# A slow client gets a shared body in copied pieces of this size.
_PIECE_BYTES = 64 * 1024
# An eighth of the pod's memory, for bodies made for one client: lists and snapshots larger than a piece.
MAX_SENDING_BYTES = 64 * 1024 * 1024


@dataclass
class Gateway:
    """The parts of the gateway that the handlers use."""

    state: PoolState
    hub: EventHub
    parts: RestParts
    snapshots: SnapshotClient
    auth: Authenticator
    metrics: GatewayMetrics
    assets: AssetFolder
    openapi: bytes
    upstream: tuple[str, int]
    writes: WriteWatch
    tunnel_places: LoginPlaces
    allowed_hosts: AllowedHosts
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    base_path: str = ""
    tls: bool = False
    throttle: Throttle = field(default_factory=Throttle)
    failures: FailureLimit = field(default_factory=FailureLimit)
    connections: OpenConnections = field(default_factory=OpenConnections)
    # For each open tunnel, the function that ends it.
    tunnels: set[Callable[[], object]] = field(default_factory=set)
    # Requests being answered, events and tunnels included.
    busy: int = 0
    # The bytes of large bodies, made for one response each, that clients are still reading.
    sending: LoginPlaces = field(default_factory=lambda: LoginPlaces(MAX_SENDING_BYTES))


def as_utf8(header: str) -> str:
    """A header's text, which Tornado reads as Latin-1; decoded as UTF-8 if it is valid UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


class ApiError(HTTPError):
    """An error response: its status, a sentence for people, and one for each wrong field."""

    def __init__(
        self,
        status: int,
        message: str,
        retry_after_s: float | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status)
        self.text = message
        self.retry_after_s = retry_after_s
        self.fields = dict(fields or {})


class BaseHandler(RequestHandler):
    """Base of every handler. `needs_login` is false for what a browser needs in order to log in.

    If a handler needs a login, its methods other than GET and HEAD change something: only admins may use them.
    """

    needs_login = True
    # The rights of this request, once `prepare` has checked its token.
    access: Access

    def __init__(self, application: Application, request: HTTPServerRequest, gateway: Gateway) -> None:
        """Called by Tornado for each request; its constructor asks for the default headers."""
        self.gateway = gateway
        self.client = client_of(str(request.remote_ip), request.headers.get_list, gateway.trusted_proxies)
        super().__init__(application, request)
        gateway.busy += 1

    def on_finish(self) -> None:
        """Called by Tornado when the response is complete."""
        self.gateway.busy -= 1
        if (place := self._place()) is not None:
            place.count_for(None)

    def set_default_headers(self) -> None:
        """Called by Tornado for each request, and again when an error replaces the response."""
        host = self.client.host or self.request.host
        for name, value in security_headers(host, self.is_secure).items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        """Checks host, connections, login and role before anything is read or done."""
        self.check_host()
        place = self._place()
        if place is not None and not place.count_for(self.client.address):
            raise ApiError(429, "Too many connections from this address: close some, or try again later.", 10)
        if not self.needs_login:
            return
        self.access = await self.check_login()
        method = self.request.method or ""
        if self.access.role is not Role.ADMIN and method not in _READING and method in self.allowed_methods():
            raise ApiError(403, "Only an admin may change anything; this token's role is viewer.")

    def _place(self) -> Place | None:
        stream = getattr(self.request.connection, "stream", None)
        return getattr(stream, "place", None)

    async def check_login(self) -> Access:
        """The rights of the request. Raises ApiError 401 or 429 unless it has a valid token or session."""
        auth = self.gateway.auth
        if not auth.required:
            return EVERYBODY
        scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
        token = as_utf8(credentials.strip()) if scheme.lower() == "bearer" else None
        access = None if token is None else auth.access_of(token)
        if access is not None:
            return access
        session = self.session()
        if session is not None:
            return session.access
        if token is None:
            raise ApiError(401, "Login required: send the token as 'Authorization: Bearer …', or log in.")
        return await self.check_token(token)

    async def check_token(self, token: str) -> Access:
        """The token's rights. A wrong one raises ApiError 401 or, after too many from this address, a delayed 429.

        The token is compared first, so a correct one is accepted after any number of wrong ones.
        """
        access = self.gateway.auth.access_of(token)
        if access is not None:
            return access
        address = self.client.address
        self.gateway.metrics.wrong_tokens.inc()
        wait_s = self.gateway.failures.wait_s(address)
        self.gateway.failures.failed(address)
        if wait_s <= 0:
            raise ApiError(401, "The token is wrong.")
        await asyncio.sleep(min(wait_s, WRONG_TOKEN_PAUSE_S))
        raise ApiError(429, "Too many wrong tokens from this address: try again in a moment.", wait_s)

    def check_host(self) -> None:
        """Raises ApiError 403 for a host name of a foreign site, unless a token protects the gateway anyway."""
        if self.gateway.auth.required or self.gateway.allowed_hosts.allow(self._hosts()):
            return
        reason = host_refusal(self._hosts())
        if self.gateway.throttle.allow("host"):
            log.warning("%s (logged once a minute)", reason)
        raise ApiError(403, reason)

    def _hosts(self) -> list[str]:
        return [self.client.host] if self.client.host else self.request.headers.get_list("Host")

    def check_origin(self) -> None:
        """Raises ApiError 403 for a page of another site. Programs send no origin and are accepted."""
        reason = self.origin_problem(self.request.headers.get_list("Origin"))
        if reason is None:
            return
        if note := self.gateway.throttle.note("origin"):
            log.warning("%s %s", reason, note)
        raise ApiError(403, f"Pages of this origin are not allowed: see ALLOWED_ORIGINS. {reason}")

    def origin_problem(self, origins: list[str]) -> str | None:
        """Why pages with these `Origin` headers are refused; None if they are not."""
        hosts = self._hosts()
        if is_allowed_origin(origins, hosts, self.gateway.allowed_origins):
            return None
        return refusal_reason(origins, hosts, self.client, str(self.request.remote_ip))

    @property
    def prefix(self) -> str:
        """The path prefix under which the browser sees the gateway, such as `/ei`; empty if unknown."""
        return self.client.prefix or self.gateway.base_path

    @property
    def is_secure(self) -> bool:
        """Whether the browser came by HTTPS, to the gateway itself or to a trusted proxy."""
        return self.gateway.tls or self.client.scheme == "https"

    def session(self) -> BrowserSession | None:
        """The session of this request, None without a valid one.

        Two gateways on one host can set two cookies of the same name; only one of them is ours.
        """
        cookies = ";".join(self.request.headers.get_list("Cookie")).split(";")
        pairs = (each.strip().partition("=") for each in cookies)
        found = [value for name, _, value in pairs if name == SESSION_COOKIE]
        sessions = [session for each in found[:8] if (session := self.gateway.auth.session(each))]
        return max(sessions, key=lambda each: each.left_s, default=None)

    def answer_json(self, document: object) -> None:
        """Responds with a document of the domain."""
        from elastic_inference.domain.rest import document_json  # noqa: PLC0415  see `rest_parts`

        self.set_header("Content-Type", "application/json")
        self.finish(document_json(document))

    async def send(self, body: bytes, *, own: bool = False) -> None:
        """Responds with a body; a client that reads slowly gets it piece by piece.

        `own`: it was made for this response only. Raises ApiError 503 if slow clients hold too many such bodies, or the
        token's rights have changed meanwhile, and 401 if it has been removed.
        """
        if own and not self.may_go_on():
            if self.gateway.auth.current(self.access) is None:
                raise ApiError(401, "The token has been removed.")
            raise ApiError(503, "The rights of this token have just changed: try again.", 1)
        if len(body) <= _PIECE_BYTES:
            self.finish(body)
        elif not own:
            await self._send_pieces(body)
        else:
            await self._send_own(body)

    async def _send_own(self, body: bytes) -> None:
        sending, connections = self.gateway.sending, self.gateway.connections
        if not sending.take(self.access, len(body)):
            raise ApiError(503, "Too many large responses are being read: try again in a moment.", 2)
        connections.add(self.cut_off, self.may_go_on)
        try:
            await self._send_pieces(body)
        finally:
            connections.remove(self.cut_off)
            sending.give_back(self.access, len(body))

    def may_go_on(self) -> bool:
        """Whether the token still allows what it allowed when the request came."""
        return self.gateway.auth.current(self.access) == self.access

    def cut_off(self) -> None:
        """Ends the connection in the middle of a response."""
        stream = getattr(self.request.connection, "stream", None)
        if isinstance(stream, (ClientStream, TlsClientStream)):
            stream.end_stalled()

    async def _send_pieces(self, body: bytes) -> None:
        self.set_header("Content-Length", str(len(body)))
        self.set_etag_header()
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
            return
        try:
            for start in range(0, len(body), _PIECE_BYTES):
                self.write(body[start : start + _PIECE_BYTES])
                await self.flush()
        except StreamClosedError:  # the client has left
            return
        self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Responds with the JSON error, whether Tornado or a handler raised it."""
        from elastic_inference.flows.gateway.error_document import error_json  # noqa: PLC0415  see there

        error = kwargs.get("exc_info", (None, None, None))[1]
        fields = {}
        if isinstance(error, ApiError):
            message, fields = error.text, error.fields
            if error.retry_after_s is not None:
                self.set_header("Retry-After", str(max(1, round(error.retry_after_s))))
        elif status_code == 405:
            message = f"{self.request.method} is not allowed here."
        elif status_code == 404:
            message = f"There is nothing at {self.request.path[:200]}."
        else:
            phrase = responses.get(status_code, "Bad request")
            message = f"{phrase}." if status_code < 500 else "Internal error; see the gateway log."
        if status_code == 401:
            self.set_header("WWW-Authenticate", 'Bearer realm="elastic-inference"')
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.allowed_methods()))
        self.set_header("Content-Type", "application/json")
        self.finish(error_json(status_code, message, fields))

    def allowed_methods(self) -> list[str]:
        """The methods that this handler serves."""
        return [
            name
            for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
            if getattr(type(self), name.lower()) is not getattr(RequestHandler, name.lower())
        ]

    def compute_etag(self) -> str | None:
        """None: responses that are never stored need no tag."""
        return None

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Logs a refusal at debug level; anything else is a bug and gets its traceback."""
        if isinstance(value, HTTPError):
            log.debug("%s %s: %s", self.request.method, self.request.path, value)
        elif isinstance(value, NoDataYetError):
            log.debug("%s: %s", self.request.path, value)
        else:
            super().log_exception(typ, value, tb)


class UnknownHandler(BaseHandler):
    """Every path that no other handler serves."""

    async def prepare(self) -> None:
        """Answers 404 to every method, but 401 first: without a login, clients do not learn which paths exist."""
        await super().prepare()
        raise ApiError(404, f"There is nothing at {self.request.path[:200]}.")
