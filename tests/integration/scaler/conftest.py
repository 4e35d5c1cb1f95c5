"""Housekeeping with its scaler, and what a camera and pods write to Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.ports import free_port
from tests.support.scaler import KedaClient
from tests.support.system import ServiceProcess

Start = Callable[..., tuple[ServiceProcess, int]]
# How long pods may be missing after Redis has started: here they never are.
SETTLE_S = "elastic_inference.flows.housekeeping.pool_demand.SETTLE_S"


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as found:
        yield found


@pytest.fixture
def start(valkey: EmbeddedValkey, tmp_path: Path) -> Iterator[Start]:
    """Starts replicas of housekeeping: each with the port of its scaler."""
    started: list[ServiceProcess] = []

    def begin(
        url: str = valkey.url, constants: Mapping[str, float] | None = None, **settings: str
    ) -> tuple[ServiceProcess, int]:
        port = free_port()
        environ = {"QUEUE_URL": url, "SCALER_PORT": str(port), "SCALER_HOST": "127.0.0.1", **settings}
        name, smaller = f"housekeeping-{len(started)}", {SETTLE_S: 0.0, **(constants or {})}
        service = ServiceProcess("housekeeping", environ, tmp_path, name, constants=smaller).start()
        started.append(service)
        return service.wait_ready(), port

    yield begin
    for each in started:
        each.kill()


@pytest.fixture
def keda(start: Start) -> Iterator[KedaClient]:
    _, port = start()
    with KedaClient(port) as found:
        yield found


def report(client: redis.Redis, pod: str, ratio: float, infer_type: str = "people") -> None:
    """A pod's report, by the real publisher."""
    publisher = ResultPublisher(client, infer_type, pod, 0)
    publisher.report_worker(10.0, 0.0, ratio, capacity_fps=20.0, device="CPU", model="m", precision="INT8")
    publisher.close()
