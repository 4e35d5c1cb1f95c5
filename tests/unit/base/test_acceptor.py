"""How both servers accept connections: clients wait when the table is full or the process has no descriptor left."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tests.support.descriptors import no_descriptor_left
from tests.support.waiting import wait_for_async

from elastic_inference.base import acceptor as module
from elastic_inference.base.acceptor import Acceptor, listen
from elastic_inference.base.connections import ConnectionLimits, ConnectionTable, Place


class Server:
    """Accepts and keeps what it accepted."""

    def __init__(self, total: int = 100, per_address: int = 100) -> None:
        self.table = ConnectionTable(ConnectionLimits(total, per_address))
        self.accepted: list[tuple[socket.socket, Place]] = []
        (listener,) = listen("127.0.0.1", 0)
        self.address = listener.getsockname()
        self.acceptor = Acceptor([listener], self.table, self._take)
        self.acceptor.start()

    def _take(self, connection: socket.socket, _address: Any, place: Place) -> None:
        self.accepted.append((connection, place))

    def end_one(self) -> None:
        connection, place = self.accepted.pop()
        connection.close()
        place.release()

    def close(self) -> None:
        self.acceptor.close()
        self.acceptor.close()
        while self.accepted:
            self.end_one()


@contextmanager
def running(total: int = 100, per_address: int = 100) -> Iterator[Server]:
    server = Server(total, per_address)
    try:
        yield server
    finally:
        server.close()


async def test_a_full_table_waits(caplog: pytest.LogCaptureFixture) -> None:
    with running(total=3) as server, ExitStack() as clients:
        for _ in range(5):
            clients.enter_context(socket.create_connection(server.address))
        await wait_for_async(lambda: len(server.accepted) == 3, what="three connections")
        before = time.process_time()
        await asyncio.sleep(0.3)
        assert time.process_time() - before < 0.15, "waiting must not keep a core busy"
        assert len(server.accepted) == 3
        assert len(caplog.messages) == 1
        server.end_one()
        await wait_for_async(lambda: len(server.accepted) == 3, what="the fourth client")
        server.end_one()
        server.end_one()
        await wait_for_async(lambda: len(server.accepted) == 2, what="the fifth client")


async def test_an_address_with_too_many_is_closed_at_once() -> None:
    with running(per_address=1) as server, socket.create_connection(server.address):
        await wait_for_async(lambda: len(server.accepted) == 1, what="the first connection")
        with socket.create_connection(server.address) as second:
            second.setblocking(False)
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(second, 1), 5) == b""
        assert len(server.table) == 1


async def test_without_descriptors_clients_wait_and_the_core_rests(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.05)
    with running() as server, ExitStack() as clients:
        waiting = [clients.enter_context(socket.socket()) for _ in range(20)]
        with no_descriptor_left():
            for each in waiting:
                each.connect(server.address)
            before = time.process_time()
            await asyncio.sleep(0.5)
            assert time.process_time() - before < 0.25, "an accept that fails must not be repeated at once"
            assert server.accepted == []
            (line,) = caplog.messages
            assert line.startswith("no connection can be accepted for now: Too many open files; clients wait")
        await wait_for_async(lambda: len(server.accepted) == 20, what="all that waited")


async def test_a_connection_that_cannot_be_taken_is_closed_and_gives_its_place_back() -> None:
    (listener,) = listen("127.0.0.1", 0)
    table = ConnectionTable(ConnectionLimits(1, 1))

    def fails(_connection: socket.socket, _address: Any, _place: Place) -> None:
        raise ValueError("a bug")

    acceptor = Acceptor([listener], table, fails)
    acceptor.start()
    for _ in range(3):
        with socket.create_connection(listener.getsockname()) as client:
            client.setblocking(False)
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 5) == b""
    assert len(table) == 0
    acceptor.close()


def test_all_addresses_of_a_host_get_one_port() -> None:
    sockets = listen("", 0)
    assert len({each.getsockname()[1] for each in sockets}) == 1
    for each in sockets:
        each.close()


def test_a_taken_port_is_an_error() -> None:
    (first,) = listen("127.0.0.1", 0)
    with first, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", first.getsockname()[1])
