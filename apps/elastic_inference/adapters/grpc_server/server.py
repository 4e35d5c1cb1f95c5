"""The gRPC server as one object: listening sockets, bounded connections, TLS, start and stop. asyncio."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Mapping
from typing import Any

from elastic_inference.adapters.grpc_server.call import Method
from elastic_inference.adapters.grpc_server.connection import GrpcConnection
from elastic_inference.adapters.grpc_server.flood_meter import FloodMeter
from elastic_inference.adapters.grpc_server.server_certificate import ServerCertificate
from elastic_inference.base.acceptor import Acceptor, listen
from elastic_inference.base.connections import ConnectionLimits, ConnectionTable, Place
from elastic_inference.base.metrics import ConnectionMetrics, ScalerMetrics
from elastic_inference.domain.errors import SettingError

log = logging.getLogger(__name__)

# KEDA's operator has one connection for all of its ScaledObjects. Others wait, or are refused.
LIMITS = ConnectionLimits(total=64, per_address=32)
HANDSHAKE_S = 5.0
CLOSE_LIMIT_S = 2.0


class GrpcServer:
    """Binds its port at once; `start` serves."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: ServerCertificate | None,
        connections: ConnectionMetrics,
        metrics: ScalerMetrics,
    ) -> None:
        """`port` 0 takes a free one, see `port`. Raises SettingError for a port in use."""
        self._tls, self._metrics = tls, metrics
        self._table = ConnectionTable(LIMITS, metrics=connections)
        self._methods: Mapping[str, Method] = {}
        self._meters: dict[str, FloodMeter] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._open: set[GrpcConnection] = set()
        self._acceptor: Acceptor | None = None
        try:
            self._sockets = listen(host, port, backlog=LIMITS.total)
        except OSError as error:
            expected = f"expected a free port at the address {host} ({error.strerror or error})"
            raise SettingError("SCALER_PORT", port, expected) from None
        self.port: int = self._sockets[0].getsockname()[1]

    def start(self, methods: Mapping[str, Method]) -> None:
        """Serves `methods`, by path (`/<service>/<name>`), on the running loop."""
        self._methods = methods
        self._acceptor = Acceptor(self._sockets, self._table, self._take)
        self._acceptor.start()

    async def close(self) -> None:
        """Accepts no more, waits shortly for the calls, which should end by themselves now, and closes."""
        if self._acceptor is not None:
            self._acceptor.close()
        for listener in self._sockets:
            listener.close()
        for task in self._opening:
            task.cancel()
        deadline = time.monotonic() + CLOSE_LIMIT_S
        while any(each.busy for each in self._open) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        closing = list(self._open)
        for each in closing:
            each.close()
        if closing:
            await asyncio.wait([asyncio.create_task(each.ended.wait()) for each in closing], timeout=CLOSE_LIMIT_S)

    def _take(self, connection: socket.socket, address: Any, place: Place) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(connection, str(address[0]), place))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _meter(self, address: str) -> FloodMeter:
        """That of an address. It outlives its connections, or a client could begin again with a new one."""
        now_s = time.monotonic()
        if len(self._meters) > LIMITS.total:
            self._meters = {each: meter for each, meter in self._meters.items() if not meter.is_idle(now_s)}
        return self._meters.setdefault(address, FloodMeter(now_s))

    async def _serve(self, connection: socket.socket, address: str, place: Place) -> None:
        context = self._tls.context() if self._tls is not None else None

        def released() -> None:
            self._open.discard(protocol)
            place.release()

        protocol = GrpcConnection(self._methods, self._metrics, self._meter(address), released)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_S if context is not None else None,
            )
        except OSError as error:  # SSLError and time-outs too: the client has left, or does not speak TLS
            log.debug("a handshake failed: %s", error)
            self._metrics.closed["tls"].inc()
            connection.close()
            place.release()
            return
        except asyncio.CancelledError:
            connection.close()
            place.release()
            raise
        if not protocol.ended.is_set():
            self._open.add(protocol)
