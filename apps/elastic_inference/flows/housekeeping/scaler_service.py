"""The external push scaler as a part of housekeeping: port, TLS, start and stop.

Imported by `housekeeping_service` only if SCALER_PORT is set.
"""

from __future__ import annotations

import asyncio
import logging

import redis.asyncio
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import QueueReader
from elastic_inference.adapters.grpc_server import GrpcServer, ServerCertificate
from elastic_inference.adapters.redis_connection import explain, is_cluster
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.base.config import HousekeepingSettings
from elastic_inference.base.metrics import ConnectionMetrics, ScalerMetrics
from elastic_inference.domain.errors import SettingError
from elastic_inference.flows.housekeeping.pool_demand import PoolDemand
from elastic_inference.flows.housekeeping.scaler import Scaler

log = logging.getLogger(__name__)


class ScalerService:
    """Binds the port at once; `run` serves until the stop."""

    def __init__(self, settings: HousekeepingSettings, registry: CollectorRegistry) -> None:
        """Raises SettingError for a port in use, or files of TLS that cannot be read."""
        self._settings = settings
        self._metrics = ScalerMetrics(registry)
        port = settings.scaler_port or 0
        self._tls = _certificate(settings)
        self._server = GrpcServer(settings.scaler_host, port, self._tls, ConnectionMetrics(registry), self._metrics)

    async def run(self, reader: QueueReader, broker: redis.asyncio.Redis, stop: asyncio.Event) -> None:
        """Serves until the stop, then ends all calls and closes."""
        demand = PoolDemand(reader, StreamRegistry(broker), cluster=is_cluster(self._settings.broker))
        scaler = Scaler(demand, self._metrics, stop, lambda error: explain(error, self._settings.queue))
        self._server.start(scaler.methods)
        log.info("scaler for KEDA on port %d%s", self._server.port, " (TLS)" if self._tls else "")
        try:
            await scaler.run()
        finally:
            await self._server.close()


def _certificate(settings: HousekeepingSettings) -> ServerCertificate | None:
    cert, key, client_ca = settings.scaler_tls_cert, settings.scaler_tls_key, settings.scaler_client_ca
    if cert is not None and key is not None:
        return ServerCertificate(cert, key, client_ca)
    given = {"SCALER_TLS_CERT": cert, "SCALER_TLS_KEY": key, "SCALER_CLIENT_CA": client_ca}
    for name in ("SCALER_TLS_CERT", "SCALER_TLS_KEY"):
        if given[name] is None and any(given.values()):
            other = next(value for value in given.values() if value is not None)
            raise SettingError(name, "(not set)", f"expected a PEM file to go with {other}")
    return None
