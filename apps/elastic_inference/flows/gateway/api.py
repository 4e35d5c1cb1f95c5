"""The handlers of `/api`: streams, snapshot, stats, events, login and the API's description.

Registered in `routes`. They only translate between HTTP and `pool_state`, `events`, `snapshot_client` and `auth`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import TypeAdapter, ValidationError
from redis.exceptions import RedisError
from tornado.iostream import StreamClosedError

from elastic_inference import __version__
from elastic_inference.base.web_origin import origin_of
from elastic_inference.domain import keys
from elastic_inference.domain.rest import Login, Session, document_json
from elastic_inference.flows.gateway.access import EVERYBODY, Access
from elastic_inference.flows.gateway.auth import SESSION_COOKIE, SESSION_LIFE_S, SESSION_RENEW_AFTER_S
from elastic_inference.flows.gateway.events import KEEPALIVE_S
from elastic_inference.flows.gateway.handlers import ApiError, BaseHandler
from elastic_inference.flows.gateway.pool_state import NoDataYetError
from elastic_inference.flows.gateway.snapshot_client import NoSnapshotError

_LOGIN = TypeAdapter(Login)
# How long the end of a client's events may take once its token does not allow them any more.
END_LIMIT_S = 0.5


class ApiHandler(BaseHandler):
    """Base of the JSON resources."""

    async def head(self, *args: str) -> None:
        """Like GET; Tornado leaves out the body."""
        await self.get(*args)

    async def get(self, *args: str) -> None:
        """Responds with the JSON of `document`."""
        try:
            body = document_json(await self.document(*args))
        except NoDataYetError:
            raise ApiError(
                503, "Redis is unavailable and no data has been read yet: try again in a moment.", 2
            ) from None
        self.set_header("Content-Type", "application/json")
        await self.send(body, own=True)

    async def document(self, *args: str) -> object:
        """The resource, as a model of the domain."""
        raise NotImplementedError


class StreamsHandler(ApiHandler):
    """`/api/streams`."""

    async def document(self, *_args: str) -> object:
        return await self.gateway.state.streams(self.access)


class StreamHandler(ApiHandler):
    """`/api/streams/<id>`."""

    async def document(self, *args: str) -> object:
        found = await self.gateway.state.stream(args[0], self.access)
        if found is None:
            raise ApiError(404, f"There is no stream {args[0][:300]!r}.")
        return found


class StatsHandler(ApiHandler):
    """`/api/stats`."""

    async def document(self, *_args: str) -> object:
        return await self.gateway.state.stats(self.access)


class OpenapiHandler(BaseHandler):
    """`/api/openapi.json`."""

    def get(self) -> None:
        """Responds with the API's description."""
        self.set_header("Content-Type", "application/json")
        self.finish(self.gateway.openapi)

    head = get


class SnapshotHandler(BaseHandler):
    """`/api/streams/<id>/snapshot.jpg`."""

    async def get(self, stream_id: str) -> None:
        """Responds with the newest frame as a JPEG with boxes."""
        try:
            known = keys.split_stream_id(stream_id) is not None
            if not known or await self.gateway.state.stream(stream_id, self.access) is None:
                raise ApiError(404, f"There is no stream {stream_id[:300]!r}.")
            jpeg = await self.gateway.snapshots.take(stream_id, self.access)
        except NoSnapshotError as error:
            raise ApiError(error.status, str(error), 2 if error.status == 503 else 1) from None
        except (NoDataYetError, RedisError, OSError):
            raise ApiError(503, "Redis is unavailable: try again in a moment.", 2) from None
        self.set_header("Content-Type", "image/jpeg")
        await self.send(jpeg, own=True)


class EventsHandler(BaseHandler):
    """`/api/events`."""

    _cut: asyncio.TimerHandle | None = None

    async def get(self) -> None:
        """Sends events until the client leaves or the gateway stops."""
        hub = self.gateway.hub
        if not hub.has_room(self.access):
            raise ApiError(429, "Too many event streams are open: try again later.", 10)
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        client = hub.subscribe(self.access)
        self._client = client
        # If its rights change, the client has to reconnect: it then gets the new ones, or 401.
        connections = self.gateway.connections
        connections.add(self._end, self.may_go_on)
        clock_at = asyncio.get_running_loop().time()
        try:
            while not client.closed:
                events = await client.take(KEEPALIVE_S)
                now = asyncio.get_running_loop().time()
                if now - clock_at >= KEEPALIVE_S:
                    events += hub.keepalive()
                    clock_at = now
                if events:
                    self.write(events)
                    # The stream closes if the client reads nothing.
                    await self.flush()
        except StreamClosedError:
            self.request.connection.stream.close()  # type: ignore[union-attr]
        finally:
            connections.remove(self._end)
            if self._cut is not None:
                self._cut.cancel()
            hub.unsubscribe(client)

    def _end(self) -> None:
        """Called when the token no longer allows it. A client that reads nothing would delay the end at will."""
        self._client.close()
        self._cut = asyncio.get_running_loop().call_later(END_LIMIT_S, self.cut_off)

    def on_connection_close(self) -> None:
        """Called by Tornado when the client has left."""
        self._client.close()


class _SessionBase(BaseHandler):
    """Base of session, login and logout."""

    needs_login = False

    def answer_session(self, access: Access | None) -> None:
        """Responds with a `Session`; `access` holds the rights of the login, None without one."""
        required = self.gateway.auth.required
        access = access if required else EVERYBODY
        headers = self.request.headers
        # For a GET to its own site the browser sends no Origin, only the page's address.
        page = headers.get_list("Origin") or [each for each in [origin_of(headers.get("Referer", ""))] if each]
        self.answer_json(
            Session(
                login_required=required,
                logged_in=access is not None,
                version=__version__,
                name=access.name if access else None,
                role=access.role if access else None,
                cameras=access.cameras if access else None,
                websocket_problem=self.origin_problem(page),
            )
        )

    def set_session(self, access: Access) -> None:
        """Sets the session cookie."""
        session = self.gateway.auth.issue_session(access)
        self.set_cookie(SESSION_COOKIE, session, max_age=SESSION_LIFE_S, **self._cookie_options())

    def clear_session(self) -> None:
        """Clears the session cookie."""
        self.clear_cookie(SESSION_COOKIE, **self._cookie_options())

    def _cookie_options(self) -> dict[str, Any]:
        # Other programs may share the host, outside the prefix: they must not get the session.
        return {"path": f"{self.prefix}/", "httponly": True, "samesite": "Strict", "secure": self.is_secure}


class SessionHandler(_SessionBase):
    """`/api/session`."""

    def get(self) -> None:
        """Responds whether a login is needed and present; renews a session in use."""
        session = self.session() if self.gateway.auth.required else None
        if session and session.left_s < SESSION_LIFE_S - SESSION_RENEW_AFTER_S:
            self.set_session(session.access)
        self.answer_session(session.access if session else None)

    head = get


class LoginHandler(_SessionBase):
    """`/api/login`."""

    async def post(self) -> None:
        """Trades the token for a session."""
        self.check_origin()
        try:
            token = _LOGIN.validate_json(self.request.body).token
        except ValidationError:
            raise ApiError(400, 'Expected the JSON {"token": "…"}.') from None
        access = EVERYBODY
        if self.gateway.auth.required:
            access = await self.check_token(token)
            self.set_session(access)
        self.answer_session(access)


class LogoutHandler(_SessionBase):
    """`/api/logout`."""

    def post(self) -> None:
        """Ends this browser's session."""
        self.check_origin()
        self.clear_session()
        self.answer_session(None)
