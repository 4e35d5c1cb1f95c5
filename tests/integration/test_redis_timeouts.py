"""A Redis that accepts commands and never answers: nothing is sent twice, and no wait exceeds its time-out."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import TimeoutError

from elastic_inference.adapters import redis_connection
from elastic_inference.base.config import RedisTarget, Secret
from elastic_inference.commands.demo.main import FirstResults
from tests.support.ports import accepted


class SilentServer:
    """Reads, and answers nothing but the start of a RESP2 connection."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        for taken in accepted(self._socket):
            self.connections += 1
            threading.Thread(target=self._read, args=(taken,), daemon=True).start()

    def _read(self, taken: socket.socket) -> None:
        with taken:
            while data := taken.recv(65536):
                self.received += data
                for _ in range(data.count(b"CLIENT") + data.count(b"SELECT")):
                    taken.sendall(b"+OK\r\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.close()


@pytest.fixture
def target(silent: SilentServer, monkeypatch: pytest.MonkeyPatch) -> RedisTarget:
    monkeypatch.setattr(redis_connection, "ANSWER_TIMEOUT_S", 0.2)
    return RedisTarget(url=Secret(f"redis://127.0.0.1:{silent.port}/0"))


def test_a_write_without_an_answer_is_not_repeated(silent: SilentServer, target: RedisTarget) -> None:
    with redis_connection.connect(target, name="test") as client, pytest.raises(TimeoutError):
        client.xadd("results_people", {"json": "{}"})
    assert silent.received.count(b"XADD") == 1


async def test_a_write_of_asyncio_without_an_answer_is_not_repeated(silent: SilentServer, target: RedisTarget) -> None:
    async with redis_connection.connect_async(target, name="test") as client:
        with pytest.raises(TimeoutError):
            await client.xadd("results_people", {"json": "{}"})
    await asyncio.sleep(0)
    assert silent.received.count(b"XADD") == 1


def test_the_demo_does_not_wait_for_a_redis_that_is_silent(silent: SilentServer) -> None:
    plan: Any = SimpleNamespace(queue_port=silent.port, infer_types=("people",))
    results = FirstResults(plan, SimpleNamespace())  # type: ignore[arg-type]
    began = time.monotonic()
    results()
    # one second; the library's ten repetitions took over ten
    assert time.monotonic() - began < 8
    assert silent.connections == 1
