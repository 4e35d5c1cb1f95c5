"""A running websocket server and a client of its broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for
from tests.support.websocket_server import (
    STREAM,
    Relay,
)


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as connection:
        connection.hset(keys.stream_info(STREAM), "type", "people")
        yield connection


@pytest.fixture
def relay(valkey: EmbeddedValkey, client: redis.Redis) -> Iterator[Relay]:
    with Relay(queue_url=valkey.url, reorder_ms=200) as server:
        yield server


@pytest.fixture
def process(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> Iterator[tuple[ServiceProcess, int]]:
    """The server as a process of its own, with the port that it listens on."""
    service = ServiceProcess("websocket", {"QUEUE_URL": valkey.url, "WEBSOCKET_PORT": "0"}, tmp_path, "relay").start()
    try:
        service.wait_ready()
        port = wait_for(
            lambda: [line for line in service.log().splitlines() if "websockets at" in line], what="its port"
        )
        yield service, int(port[0].split("0.0.0.0:")[1].split("/")[0])
    finally:
        service.kill()
