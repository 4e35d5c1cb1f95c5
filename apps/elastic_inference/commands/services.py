"""The console commands of the services.

A service imports hundreds of modules, and nearly all of their objects stay. Garbage collection over them took a
sixth of the time until the service is ready, so it is off during the start, and ignores these objects later.
"""

from __future__ import annotations

import gc
import importlib
import sys
from functools import partial
from pathlib import Path

from elastic_inference.commands.left_out import leave_out


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
    leave_out(module)
    main = importlib.import_module(f"elastic_inference.flows.{module}").main
    gc.freeze()
    gc.enable()
    code: int = main()
    return code


camera = partial(_run, "produce.camera_service", "CameraSettings")
file = partial(_run, "produce.file_service", "FileSettings")
inference = partial(_run, "inference.inference_service", "InferenceSettings")
websocket = partial(_run, "relay.websocket_service", "WebsocketSettings")
gateway = partial(_run, "gateway.gateway_service", "GatewaySettings")
housekeeping = partial(_run, "housekeeping.housekeeping_service", "HousekeepingSettings")
events = partial(_run, "events.event_service", "EventSettings")
camera_controller = partial(_run, "cameras.camera_controller", "CameraControllerSettings")
