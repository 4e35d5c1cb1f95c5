"""Accepts or refuses viewers, closes them, and answers requests for snapshots.

Made by `websocket_service`, and by tests with other limits. The `websockets` library does handshake, pings and closing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from elastic_inference.base.acceptor import Acceptor, listen
from elastic_inference.base.allowed_hosts import AllowedHosts, host_refusal
from elastic_inference.base.connections import WRITE_STALL_S, ConnectionLimits, ConnectionTable
from elastic_inference.base.forwarded import Client, Network, client_of
from elastic_inference.base.log import Throttle
from elastic_inference.base.metrics import ConnectionMetrics, RelayMetrics
from elastic_inference.base.web_origin import is_allowed_origin, refusal_reason
from elastic_inference.domain import keys
from elastic_inference.flows.relay.handover import Handover
from elastic_inference.flows.relay.hub import Hub
from elastic_inference.flows.relay.known_streams import BrokerUnavailableError
from elastic_inference.flows.relay.request import BadRequestError, parse_target, snapshot_stream
from elastic_inference.flows.relay.snapshots import BROKER_UNAVAILABLE, SnapshotError, Snapshots
from elastic_inference.flows.relay.viewer import Viewer

log = logging.getLogger(__name__)

CLOSE_GOING_AWAY = 1001
CLOSE_TRY_AGAIN = 1013
CLOSE_UNKNOWN = 4404
CLOSE_LIMIT = 4429
# What viewers send is discarded. `viewer` limits its rate.
_MAX_MESSAGE_BYTES = 1024
_CONNECTIONS = ConnectionLimits(4000, 2000)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the server; times in seconds."""

    max_viewers: int = 1000
    connections: ConnectionLimits = _CONNECTIONS
    write_stall_s: float = WRITE_STALL_S
    ping_s: float = 20.0
    pong_s: float = 20.0
    open_s: float = 10.0
    close_s: float = 2.0


class WebsocketServer:
    """Accepts viewers for the `hub`. For one event loop; not thread-safe."""

    def __init__(
        self,
        hub: Hub,
        metrics: RelayMetrics,
        exists: Callable[[str], Awaitable[bool]],
        snapshots: Snapshots,
        *,
        allowed_origins: Sequence[str] = (),
        trusted_proxies: Sequence[Network] = (),
        allowed_hosts: AllowedHosts | None = None,
        limits: Limits | None = None,
        connection_metrics: ConnectionMetrics | None = None,
    ) -> None:
        """`exists` tells whether a stream exists; it may raise BrokerUnavailableError."""
        self._hub = hub
        self._metrics = metrics
        self._exists = exists
        self._snapshots = snapshots
        self._allowed_origins = tuple(allowed_origins)
        self._trusted_proxies = tuple(trusted_proxies)
        self._allowed_hosts = allowed_hosts or AllowedHosts((), socket.gethostname())
        self._throttle = Throttle()
        self._limits = limits or Limits()
        self._connection_metrics = connection_metrics
        self._handover: Handover | None = None
        self._inside = 0
        self._server: Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Starts listening on `port`, or on a free one for 0. Raises OSError when the address is taken."""
        # Wrong requests are answered and counted; the library would log each with a traceback.
        quiet = logging.getLogger(f"{__name__}.library")
        quiet.setLevel(logging.CRITICAL)
        listeners = listen(host, port)
        self.port = listeners[0].getsockname()[1]
        table = ConnectionTable(self._limits.connections, self._trusted_proxies, self._connection_metrics)
        self._handover = handover = Handover()
        acceptor = Acceptor(listeners, table, handover.offer)
        handover.on_close = acceptor.close
        self._server = await serve(
            self._handle,
            sock=handover,
            create_connection=Viewer,
            compression=None,
            process_request=self._check,
            process_response=self._count_refusal,
            server_header=None,
            open_timeout=self._limits.open_s,
            ping_interval=self._limits.ping_s,
            ping_timeout=self._limits.pong_s,
            close_timeout=self._limits.close_s,
            max_size=_MAX_MESSAGE_BYTES,
            max_queue=4,
            logger=quiet,
        )
        acceptor.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """Stops accepting viewers and closes the open ones with 1001; those that do not answer in time are cut off."""
        if self._server is None:
            return
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._snapshots.close()
        self._server.close(code=CLOSE_GOING_AWAY, reason="the server is shutting down")
        try:
            await asyncio.wait_for(self._server.wait_closed(), self._limits.close_s + 1)
        except TimeoutError:
            for viewer in self._hub.viewers():
                viewer.cut_off()
            await asyncio.wait_for(self._server.wait_closed(), self._limits.close_s + 1)

    def _check(
        self, connection: ServerConnection, request: Request
    ) -> Response | Coroutine[None, None, Response] | None:
        """The response to a refused viewer or another request; None for an accepted viewer."""
        assert isinstance(connection, Viewer)  # noqa: S101  `create_connection` above
        peer = str((connection.remote_address or ("",))[0])
        client = client_of(peer, request.headers.get_all, self._trusted_proxies)
        hosts = [client.host] if client.host else request.headers.get_all("Host")
        if not self._allowed_hosts.allow(hosts):
            return self._refuse(connection, "host", host_refusal(hosts))
        place = self._handover.places.get(connection.remote_address) if self._handover else None
        if place is not None and not place.count_for(client.address):
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many connections from this address\n")
        if reason := self._origin_problem(request, hosts, client, peer):
            words = "pages of this origin are not allowed: see ALLOWED_ORIGINS of the websocket server. "
            return self._refuse(connection, "origin", reason, words)
        stream_id = snapshot_stream(request.path)
        if stream_id is not None:
            return self._snapshot(connection, stream_id)
        try:
            connection.wanted = parse_target(request.path)
        except BadRequestError as error:
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{error}\n")
        return None

    def _refuse(self, connection: ServerConnection, why: str, reason: str, words: str = "") -> Response:
        self._metrics.refused[why].inc()
        if self._throttle.allow(why):
            log.warning("%s (logged once a minute)", reason)
        return connection.respond(HTTPStatus.FORBIDDEN, f"{words}{reason}\n")

    def _origin_problem(self, request: Request, hosts: Sequence[str], client: Client, peer: str) -> str | None:
        origins = request.headers.get_all("Origin")
        if is_allowed_origin(origins, hosts, self._allowed_origins):
            return None
        return refusal_reason(origins, hosts, client, peer)

    async def _snapshot(self, connection: ServerConnection, stream_id: str) -> Response:
        try:
            jpeg = await self._snapshots.take(stream_id)
        except SnapshotError as error:
            return connection.respond(HTTPStatus(error.status), f"{error}\n")
        except BrokerUnavailableError:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{BROKER_UNAVAILABLE}\n")
        headers = {
            "Connection": "close",
            "Content-Length": str(len(jpeg)),
            "Content-Type": "image/jpeg",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        return Response(HTTPStatus.OK, HTTPStatus.OK.phrase, Headers(headers), jpeg)

    def _count_refusal(self, _connection: ServerConnection, request: Request, response: Response) -> None:
        counted = (HTTPStatus.FORBIDDEN, HTTPStatus.SWITCHING_PROTOCOLS)
        if response.status_code not in counted and snapshot_stream(request.path) is None:
            self._metrics.refused["request"].inc()

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Viewer)  # noqa: S101  `create_connection` above
        self._inside += 1
        try:
            await self._serve(connection)
        except ConnectionClosed:
            pass
        except Exception:
            if note := self._throttle.note("viewer"):
                log.exception("serving a viewer failed %s", note)
            raise
        finally:
            self._inside -= 1

    async def _serve(self, viewer: Viewer) -> None:
        if self._inside > self._limits.max_viewers:
            self._metrics.refused["limit"].inc()
            await viewer.close(CLOSE_LIMIT, f"too many viewers, at most {self._limits.max_viewers}")
            return
        stream_id = viewer.wanted.stream_id
        try:
            known = stream_id in self._hub or (
                keys.split_stream_id(stream_id) is not None and await self._exists(stream_id)
            )
        except BrokerUnavailableError:
            await viewer.close(CLOSE_TRY_AGAIN, "the stream broker is unavailable, try again")
            return
        if not known:
            self._metrics.refused["unknown"].inc()
            await viewer.close(CLOSE_UNKNOWN, "no such stream")
            return
        self._hub.add(viewer)
        try:
            async for _ in viewer:
                continue
        finally:
            self._hub.remove(viewer)

    async def _sweep(self) -> None:
        """Cuts off viewers that read nothing. The library's pings can't: they wait in the same full socket."""
        limit_s = min(self._limits.write_stall_s, self._limits.ping_s + self._limits.pong_s)
        while True:
            await asyncio.sleep(limit_s / 8)
            for viewer in self._hub.viewers():
                if viewer.stalled_s() > limit_s:
                    if self._throttle.allow("stalled"):
                        log.info(
                            "closed a viewer of %s that has read nothing for %.0f s (logged once a minute)",
                            *(viewer.wanted.stream_id, limit_s),
                        )
                    viewer.cut_off()
