"""The console commands of the services.

A service imports hundreds of modules, and nearly all of their objects stay. To search them for garbage again and again
takes a sixth of the time until the service is ready, so the collector is off meanwhile, and leaves them alone later.
"""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path


def _run(module: str, settings: str) -> int:
    """Calls `main` of a module of `elastic_inference.flows`; returns its exit code.

    Services take no arguments but `-h`, which lists the variables of `settings`, a class of `base.config`.
    """
    if sys.argv[1:]:
        # Imported late: a service that starts needs neither argparse nor texts.
        config = importlib.import_module("elastic_inference.base.config")
        service_help = importlib.import_module("elastic_inference.commands.service_help")
        service_help.answer(getattr(config, settings), Path(sys.argv[0]).name, sys.argv[1:])
    gc.disable()
    main = importlib.import_module(f"elastic_inference.flows.{module}").main
    gc.freeze()
    gc.enable()
    code: int = main()
    return code


def camera() -> int:
    """`ei-camera-stream-service`."""
    return _run("produce.camera_service", "CameraSettings")


def file() -> int:
    """`ei-file-stream-service`."""
    return _run("produce.file_service", "FileSettings")


def inference() -> int:
    """`ei-inference-service`."""
    return _run("inference.inference_service", "InferenceSettings")


def websocket() -> int:
    """`ei-websocket-server`."""
    return _run("relay.websocket_service", "WebsocketSettings")


def gateway() -> int:
    """`ei-gateway-server`."""
    return _run("gateway.gateway_service", "GatewaySettings")


def housekeeping() -> int:
    """`ei-housekeeping-service`."""
    return _run("housekeeping.housekeeping_service", "HousekeepingSettings")


def camera_controller() -> int:
    """`ei-camera-controller`."""
    return _run("cameras.camera_controller", "CameraControllerSettings")
