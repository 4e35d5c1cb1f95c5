"""The gateway service: runs a `GatewayServer` with the settings until it is stopped."""

from __future__ import annotations

import asyncio
import sys

from prometheus_client import CollectorRegistry

from elastic_inference.base.config import GatewaySettings
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.service_runner import run_service
from elastic_inference.flows.gateway.server import GatewayServer


def run(settings: GatewaySettings, lifecycle: Lifecycle, registry: CollectorRegistry) -> None:
    """Serves until the stop, then drains. Ready as soon as the port is open, even while Redis is unavailable."""
    lifecycle.declare("http")
    server = GatewayServer(settings, lifecycle, registry)
    asyncio.run(_serve(server, lifecycle))


async def _serve(server: GatewayServer, lifecycle: Lifecycle) -> None:
    stop = lifecycle.stop_event()
    await server.start()
    lifecycle.set_ready("http")
    await stop.wait()
    lifecycle.end_beat("event loop")
    await server.close()


def main() -> int:
    """Entry point."""
    return run_service(GatewaySettings, run)


if __name__ == "__main__":
    sys.exit(main())
