"""The gateway as one object: sockets, parts, start and stop.

Called by `gateway_service` and by tests. Runs on the event loop that started it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis.asyncio
from prometheus_client import CollectorRegistry
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from elastic_inference.adapters.frame_queue import QueueReader
from elastic_inference.adapters.redis_connection import connect_async, explain
from elastic_inference.adapters.redis_server_check import watch_server
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.base.acceptor import Acceptor, listen
from elastic_inference.base.allowed_hosts import AllowedHosts
from elastic_inference.base.config import GatewaySettings, RedisTarget
from elastic_inference.base.connections import (
    LINGER_S,
    WRITE_STALL_S,
    ConnectionTable,
    Place,
    WriteWatch,
    fit_connections,
)
from elastic_inference.base.forwarded import parse_networks
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import ConnectionMetrics, GatewayMetrics
from elastic_inference.domain import keys
from elastic_inference.domain.errors import SettingError
from elastic_inference.flows.gateway.application import make_application
from elastic_inference.flows.gateway.assets import INDEX, AssetFolder
from elastic_inference.flows.gateway.auth import Authenticator
from elastic_inference.flows.gateway.bad_request import replace_bare_response
from elastic_inference.flows.gateway.client_streams import open_stream
from elastic_inference.flows.gateway.events import EventHub
from elastic_inference.flows.gateway.handlers import Gateway
from elastic_inference.flows.gateway.login_places import LoginPlaces
from elastic_inference.flows.gateway.pool_state import PoolState
from elastic_inference.flows.gateway.rest_parts import RestParts
from elastic_inference.flows.gateway.snapshot_client import SnapshotClient
from elastic_inference.flows.gateway.tokens import Token, TokensFileError, admin_token

if TYPE_CHECKING:
    from elastic_inference.flows.gateway.tokens_file import TokensFile

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
DASHBOARD = HERE / "dashboard"
IDLE_LIMIT_S = 60.0
BODY_LIMIT_S = 10.0
MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 16 * 1024
MAX_BUFFER_BYTES = 1024 * 1024
# The websocket server refuses viewers over its limit itself, with a close code that a page can read (4429). The
# gateway refuses viewers only if there are this many more.
TUNNELS_OVER_VIEWERS = 64
CLOSE_LIMIT_S = 3.0
SWEEP_S = 1.0
BEAT_LIMIT_S = 60.0


class GatewayServer:
    """One gateway. The constructor checks the settings and binds the port; `start` serves."""

    def __init__(self, settings: GatewaySettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
        """Raises SettingError for a port in use, a bad certificate, or a folder without a page."""
        self._settings = settings
        self._lifecycle = lifecycle
        self._metrics = GatewayMetrics(registry)
        self._assets = find_assets(settings.dashboard_dir)
        self._tls = tls_context(settings.gateway_tls_cert, settings.gateway_tls_key)
        token = settings.token
        own = (admin_token(token.get_secret_value()),) if token else ()
        self._tokens_file = self._open_tokens_file(own)
        tokens = self._tokens_file.tokens if self._tokens_file else own
        self._auth = Authenticator(tokens, required=token is not None or self._tokens_file is not None)
        self._max_tunnels = settings.max_viewers + TUNNELS_OVER_VIEWERS
        self._table = ConnectionTable(
            fit_connections(settings.connections, settings.max_connections_per_address, self._max_tunnels),
            parse_networks(settings.trusted_proxies),
            ConnectionMetrics(registry),
        )
        self._writes = WriteWatch(WRITE_STALL_S, LINGER_S)
        self._sockets = _bind(settings.gateway_host, settings.gateway_port)
        self.port: int = self._sockets[0].getsockname()[1]
        self._running = AsyncExitStack()
        self._http: _HttpServer | None = None
        self._acceptor: Acceptor | None = None
        self._gateway: Gateway | None = None

    def _open_tokens_file(self, own: Sequence[Token]) -> TokensFile | None:
        path = self._settings.gateway_tokens_file
        if path is None:
            return None
        from elastic_inference.flows.gateway.tokens_file import TokensFile  # noqa: PLC0415  seldom needed

        report = partial(self._lifecycle.set_degraded, "tokens file")
        try:
            return TokensFile(path, own, self._take_tokens, report)
        except TokensFileError as error:
            raise SettingError("GATEWAY_TOKENS_FILE", str(path), str(error)) from None

    def _take_tokens(self, tokens: Sequence[Token]) -> None:
        self._auth.replace(tokens)
        if self._gateway is not None:
            self._gateway.connections.end_refused()

    @property
    def url(self) -> str:
        """Address of the gateway on this machine."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Starts serving, whether Redis is available or not."""
        settings = self._settings
        name = "ei-gateway-server"
        broker = connect_async(settings.broker, name=name)
        self._running.push_async_callback(broker.aclose)
        # In a Redis Cluster, any node's clock is good enough.
        clock = connect_async(settings.queue, key=keys.legacy_queue("clock"), name=name)
        self._running.push_async_callback(clock.aclose)
        reader = QueueReader(settings.queue, name)
        self._running.push_async_callback(reader.close)
        registry = StreamRegistry(broker)
        report = _Report(self._lifecycle, {"queue": settings.queue, "broker": settings.broker})
        state = PoolState(clock, reader, registry, report=report)
        registry_client = connect_async(settings.queue, key=keys.CAMERA_SPECS, name=name)
        self._running.push_async_callback(registry_client.aclose)
        parts = RestParts(state, (broker, settings.broker), (registry_client, settings.queue), registry)
        hub = EventHub(state, self._metrics, parts)
        upstream = _address(settings.websocket_server_url)
        snapshots = SnapshotClient(*upstream)
        self._running.callback(snapshots.close)
        self._gateway = Gateway(
            state=state,
            hub=hub,
            parts=parts,
            snapshots=snapshots,
            auth=self._auth,
            metrics=self._metrics,
            assets=self._assets,
            openapi=(HERE / "openapi.json").read_bytes(),
            upstream=upstream,
            writes=self._writes,
            tunnel_places=LoginPlaces(self._max_tunnels),
            allowed_hosts=AllowedHosts(settings.allowed_hosts, socket.gethostname()),
            allowed_origins=settings.allowed_origins,
            trusted_proxies=parse_networks(settings.trusted_proxies),
            base_path=settings.base_path,
            tls=self._tls is not None,
        )
        follow = [self._tokens_file.run] if self._tokens_file else []
        for run in (state.run, hub.run, self._sweep, *follow, *self._server_checks(clock, broker)):
            task = asyncio.create_task(_keep_running(run))
            self._running.push_async_callback(_cancel, task)
        self._http = _HttpServer(
            make_application(self._gateway, settings.base_path),
            ssl_options=self._tls,
            idle_connection_timeout=IDLE_LIMIT_S,
            body_timeout=BODY_LIMIT_S,
            max_header_size=MAX_HEAD_BYTES,
            max_body_size=MAX_BODY_BYTES,
        )
        self._http.refuse_with(self._tls is not None, self._metrics.requests["4xx"].inc)
        self._acceptor = Acceptor(self._sockets, self._table, self._take)
        self._acceptor.start()
        log.info("gateway at %s%s", self.url, " (token required)" if self._auth.required else "")

    def _take(self, connection: socket.socket, address: Any, place: Place) -> None:
        assert self._http is not None  # noqa: S101  made before the acceptor
        stream = open_stream(connection, self._tls, place, self._writes, max_buffer_size=MAX_BUFFER_BYTES)
        self._http.handle_stream(stream, address)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._writes.sweep()

    def _server_checks(
        self, queue: redis.asyncio.Redis, broker: redis.asyncio.Redis
    ) -> list[Callable[[], Coroutine[None, None, None]]]:
        settings, degraded = self._settings, self._lifecycle.set_degraded
        checks: list[Callable[[], Coroutine[None, None, None]]]
        checks = [partial(watch_server, queue, settings.queue, partial(degraded, "queue server"))]
        if settings.broker != settings.queue:
            checks.append(partial(watch_server, broker, settings.broker, partial(degraded, "broker server")))
        return checks

    async def close(self) -> None:
        """Stops accepting requests, ends events and tunnels, and gives other requests 3 s to finish."""
        if self._http is None or self._gateway is None or self._acceptor is None:
            for each in self._sockets:
                each.close()
            return
        self._acceptor.close()
        self._gateway.hub.close()
        for end_tunnel in list(self._gateway.tunnels):
            end_tunnel()
        deadline = asyncio.get_running_loop().time() + CLOSE_LIMIT_S
        while self._gateway.busy and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        await self._http.close_all_connections()
        await self._running.aclose()


class _HttpServer(HTTPServer):
    """Tornado's server, with our own response to a request that is not HTTP."""

    def refuse_with(self, secure: bool, count: Callable[[], object]) -> None:
        """Responds to requests that are not HTTP with `bad_request`, and calls `count`. Call it first."""
        self._refusal = (secure, count)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Called by Tornado for each connection."""
        replace_bare_response(stream, *self._refusal)
        super().handle_stream(stream, address)


class _Report:
    """Passes the pool state's health on to the lifecycle."""

    def __init__(self, lifecycle: Lifecycle, targets: Mapping[str, RedisTarget]) -> None:
        self._lifecycle = lifecycle
        self._targets = targets

    def beat(self) -> None:
        self._lifecycle.beat("event loop", BEAT_LIMIT_S)

    def degraded(self, part: str, error: Exception | None) -> None:
        self._lifecycle.set_degraded(part, None if error is None else explain(error, self._targets[part]))


async def _keep_running(run: Callable[[], Coroutine[None, None, None]]) -> None:
    while True:
        try:
            await run()
        except Exception:
            # Top of a task: the gateway keeps serving what it can.
            log.exception("a background task failed; it restarts")
            await asyncio.sleep(1.0)


async def _cancel(task: asyncio.Task[None]) -> None:
    # Repeated, since a cancellation that arrives together with an answer gets lost (asyncio.wait_for in Python 3.11).
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


def find_assets(folder: Path | None) -> AssetFolder:
    """The dashboard in `folder`, or the packaged one, which may not be built. Raises SettingError."""
    if folder is not None:
        assets = AssetFolder(folder)
        if not assets.has_index:
            raise SettingError(
                "DASHBOARD_DIR", str(folder), f"expected the folder of a built dashboard, with {INDEX} in it"
            )
        return assets
    return AssetFolder(DASHBOARD)


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The context for HTTPS, or None without a certificate. Raises SettingError."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        missing, given = ("GATEWAY_TLS_CERT", key) if cert is None else ("GATEWAY_TLS_KEY", cert)
        raise SettingError(missing, "(not set)", f"expected a PEM file to go with {given}")
    for name, path in (("GATEWAY_TLS_CERT", cert), ("GATEWAY_TLS_KEY", key)):
        if not path.is_file():
            raise SettingError(name, str(path), "expected a readable PEM file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password given here, OpenSSL would prompt for one at the terminal.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise SettingError(
            "GATEWAY_TLS_CERT",
            str(cert),
            f"expected a PEM chain for the key {key}, and a key without a password ({error})",
        ) from None
    return context


def _bind(host: str, port: int) -> list[socket.socket]:
    try:
        return listen(host, port)
    except OSError as error:
        raise SettingError(
            "GATEWAY_PORT", port, f"expected a free port at the address {host} ({error.strerror or error})"
        ) from None


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return str(parts.hostname), parts.port or 80
