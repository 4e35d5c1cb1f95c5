"""The services behind the API as real processes, with a stream in their Redis, for the fuzzers that speak HTTP."""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.background import repeating
from tests.support.gateway import Pool
from tests.support.ports import free_port
from tests.support.system import ServiceProcess

# Cameras that are there from the start; a fuzzer changes and removes them.
CAMERAS = tuple(f"fuzzed-{number}" for number in range(20))
# Lines of a log that only an unhandled exception makes.
_TRACE = re.compile(r"^Traceback \(most recent call last\)|Task exception was never retrieved", re.MULTILINE)


@dataclass
class Services:
    """Running services; `token` is empty if the gateway is open. `owner` and `worker` answer for cameras."""

    gateway: ServiceProcess
    websocket: ServiceProcess
    owner: ServiceProcess
    worker: ServiceProcess
    gateway_port: int
    websocket_port: int
    token: str
    stream_id: str

    def problem(self) -> str:
        """What is wrong with the processes: one that has ended, or an unhandled exception in its log; '' if nothing."""
        for each in (self.gateway, self.websocket, self.owner, self.worker):
            assert each.process is not None
            if (code := each.process.poll()) is not None:
                return f"the {each.name} ended with {code}:\n{each.log()[-3000:]}"
            if trace := _TRACE.search(each.log()):
                return f"the log of the {each.name}:\n{each.log()[max(0, trace.start() - 500) : trace.start() + 3000]}"
        return ""


@contextmanager
def running(*, with_token: bool) -> Iterator[Services]:
    """Starts them with one stream that is inferred, and ends them.

    Cameras are added and probed at what a fuzzer makes up: the source worker may connect to one address, where nobody
    answers.
    """
    token = secrets.token_urlsafe(24) if with_token else ""
    ports = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="ei-fuzz-") as folder, EmbeddedValkey() as valkey:
        common = {"QUEUE_URL": valkey.url, "METRICS_HOST": "127.0.0.1"}
        websocket = {"WEBSOCKET_HOST": "127.0.0.1", "WEBSOCKET_PORT": str(ports[1])}
        gateway = {"GATEWAY_HOST": "127.0.0.1", "GATEWAY_PORT": str(ports[0])}
        gateway["WEBSOCKET_SERVER_URL"] = f"ws://127.0.0.1:{ports[1]}"
        gateway["TRUSTED_PROXIES"] = "127.0.0.1"
        if token:
            gateway["GATEWAY_TOKEN"] = token
        worker = {"CAMERA_POOL": "true", "CAMERA_PROCESSES": "1", "CAMERA_NETWORKS": "127.0.0.99/32"}
        services = [
            ServiceProcess("websocket", {**common, **websocket}, Path(folder), "websocket server"),
            ServiceProcess("gateway", {**common, **gateway}, Path(folder), "gateway"),
            ServiceProcess("housekeeping", {**common, "CAMERAS_FILE": f"{folder}/cameras.yaml"}, Path(folder), "owner"),
            ServiceProcess("camera", {**common, **worker}, Path(folder), "source worker"),
        ]
        cameras = [f"- {{name: {name}, url: 'rtsp://127.0.0.99/', enabled: false}}\n" for name in CAMERAS]
        Path(folder, "cameras.yaml").write_text("cameras:\n" + "".join(cameras))
        try:
            for each in services:
                each.start()
            for each in services:
                each.wait_ready()
            with redis.Redis(port=valkey.port) as client:
                pool = Pool(client)
                pool.push()
                with repeating(pool.publish, 10.0):
                    websocket_server, gateway_server, owner, source_worker = services
                    started = gateway_server, websocket_server, owner, source_worker
                    yield Services(*started, *ports, token, pool.stream_id)
        finally:
            for each in services:
                each.kill()
