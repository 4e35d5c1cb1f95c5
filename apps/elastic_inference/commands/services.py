"""The console commands of the services.

A service imports hundreds of modules, and nearly all of their objects stay. Searching them for garbage again and again
would take a sixth of the time until the service is ready. So the collector is off meanwhile and ignores them later.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _importing() -> Iterator[None]:
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def camera() -> int:
    """`ei-camera-stream-service`."""
    with _importing():
        from elastic_inference.flows.produce.camera_service import main  # noqa: PLC0415
    return main()


def file() -> int:
    """`ei-file-stream-service`."""
    with _importing():
        from elastic_inference.flows.produce.file_service import main  # noqa: PLC0415
    return main()


def inference() -> int:
    """`ei-inference-service`."""
    with _importing():
        from elastic_inference.flows.inference.inference_service import main  # noqa: PLC0415
    return main()


def websocket() -> int:
    """`ei-websocket-server`."""
    with _importing():
        from elastic_inference.flows.relay.websocket_service import main  # noqa: PLC0415
    return main()


def gateway() -> int:
    """`ei-gateway-server`."""
    with _importing():
        from elastic_inference.flows.gateway.gateway_service import main  # noqa: PLC0415
    return main()


def housekeeping() -> int:
    """`ei-housekeeping-service`."""
    with _importing():
        from elastic_inference.flows.housekeeping.housekeeping_service import main  # noqa: PLC0415
    return main()
