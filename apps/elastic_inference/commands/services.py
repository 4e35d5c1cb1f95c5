"""The console commands of the services.

A service imports hundreds of modules, and nearly all of their objects stay. To search them for garbage again and again
takes a sixth of the time until the service is ready, so the collector is off meanwhile, and leaves them alone later.
"""

from __future__ import annotations

import gc
import importlib


def _run(module: str) -> int:
    """Calls `main` of a module of `elastic_inference.flows`; returns its exit code."""
    gc.disable()
    main = importlib.import_module(f"elastic_inference.flows.{module}").main
    gc.freeze()
    gc.enable()
    code: int = main()
    return code


def camera() -> int:
    """`ei-camera-stream-service`."""
    return _run("produce.camera_service")


def file() -> int:
    """`ei-file-stream-service`."""
    return _run("produce.file_service")


def inference() -> int:
    """`ei-inference-service`."""
    return _run("inference.inference_service")


def websocket() -> int:
    """`ei-websocket-server`."""
    return _run("relay.websocket_service")


def gateway() -> int:
    """`ei-gateway-server`."""
    return _run("gateway.gateway_service")


def housekeeping() -> int:
    """`ei-housekeeping-service`."""
    return _run("housekeeping.housekeeping_service")


def camera_controller() -> int:
    """`ei-camera-controller`."""
    return _run("cameras.camera_controller")
