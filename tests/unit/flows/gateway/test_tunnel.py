"""The tunnel over real sockets: all bytes arrive in order, buffers are bounded, and both ends close."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading

import pytest
from tests.support.ports import free_port
from tests.support.waiting import wait_for_async

from elastic_inference.base.connections import WriteWatch, bound_kernel_queue
from elastic_inference.flows.gateway.tunnel import (
    UPSTREAM_RECEIVE_BYTES,
    SocketTunnel,
    UpstreamError,
    open_upstream,
)


def pair(receive_bytes: int = 0) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection over loopback. `receive_bytes` sets the receive buffer of the first."""
    near = socket.socket()
    if receive_bytes:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    with socket.create_server(("127.0.0.1", 0)) as server:
        near.connect(server.getsockname())
        far, _ = server.accept()
    return near, far


class Joined:
    """A viewer and a server with a tunnel between them."""

    def __init__(self) -> None:
        self.viewer, client = pair(64 * 1024)
        upstream, self.server = pair(UPSTREAM_RECEIVE_BYTES)
        client.setblocking(False)
        upstream.setblocking(False)
        bound_kernel_queue(client)
        self.writes = WriteWatch()
        self.tunnel = SocketTunnel(client, upstream, self.writes)

    def close(self) -> None:
        self.tunnel.close()
        self.viewer.close()
        self.server.close()


async def test_an_impossible_host_name_is_an_upstream_error() -> None:
    with pytest.raises(UpstreamError, match="is unreachable"):
        await open_upstream("192.168..1.5", 1, b"GET / HTTP/1.1\r\n\r\n")


async def test_bytes_pass_both_ways_after_those_read_before() -> None:
    joined = Joined()
    joined.tunnel.start(b"answer,", b"early,")
    joined.viewer.sendall(b"hello")
    joined.server.sendall(b"welcome")
    loop = asyncio.get_running_loop()

    async def received(end: socket.socket, count: int) -> bytes:
        end.setblocking(False)
        data = b""
        while len(data) < count:
            data += await asyncio.wait_for(loop.sock_recv(end, count - len(data)), 5)
        return data

    assert await received(joined.server, 11) == b"early,hello"
    assert await received(joined.viewer, 14) == b"answer,welcome"
    joined.close()


async def test_megabytes_pass_unchanged_to_a_reader_that_pauses() -> None:
    joined = Joined()
    joined.tunnel.start(b"", b"")
    data = os.urandom(8 * 1024 * 1024)
    found = hashlib.sha256()

    def read() -> None:
        joined.viewer.settimeout(20)
        while part := joined.viewer.recv(10_000):
            found.update(part)

    def send() -> None:
        joined.server.sendall(data)
        joined.server.shutdown(socket.SHUT_WR)

    reader, sender = threading.Thread(target=read), threading.Thread(target=send)
    sender.start()
    await wait_for_async(lambda: bool(joined.tunnel._down._pending), 10, "the tunnel to be full")
    reader.start()
    await wait_for_async(lambda: not reader.is_alive(), 20, "the reader's end")
    sender.join()
    assert found.digest() == hashlib.sha256(data).digest()
    joined.close()


async def test_little_is_buffered_for_a_viewer_that_does_not_read() -> None:
    joined = Joined()
    joined.tunnel.start(b"", b"")
    joined.server.setblocking(False)
    joined.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    sent = 0

    def fill() -> None:
        nonlocal sent
        try:
            while True:
                sent += joined.server.send(b"x" * 65536)
        except BlockingIOError:
            return

    rounds_without_progress = 0
    async with asyncio.timeout(10):
        while rounds_without_progress < 5:
            before = sent
            fill()
            await asyncio.sleep(0.02)
            rounds_without_progress = rounds_without_progress + 1 if sent == before else 0
    # The tunnel cannot bound the server's own send buffer, so this test keeps it small.
    assert 0 < sent < 1_500_000
    joined.close()


@pytest.mark.parametrize("leaves", ["viewer", "server"])
async def test_when_one_side_closes_both_are_closed(leaves: str) -> None:
    joined = Joined()
    joined.tunnel.start(b"", b"")
    stays = joined.server if leaves == "viewer" else joined.viewer
    (joined.viewer if leaves == "viewer" else joined.server).close()
    stays.setblocking(False)
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(stays, 10), 5) == b""
    stays.close()
    await asyncio.wait_for(joined.tunnel.done.wait(), 5)
    joined.close()


async def test_a_side_that_does_not_close_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elastic_inference.flows.gateway.tunnel.LINGER_S", 0.1)
    joined = Joined()
    joined.tunnel.start(b"", b"")
    joined.server.close()
    await asyncio.wait_for(joined.tunnel.done.wait(), 5)
    joined.close()


async def test_a_reset_ends_the_tunnel() -> None:
    joined = Joined()
    joined.tunnel.start(b"", b"")
    joined.viewer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    joined.viewer.close()
    await asyncio.wait_for(joined.tunnel.done.wait(), 5)
    joined.close()


async def test_an_unreachable_or_silent_upstream_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UpstreamError, match="is unreachable"):
        await open_upstream("127.0.0.1", free_port(), b"GET / HTTP/1.1\r\n\r\n")
    monkeypatch.setattr("elastic_inference.flows.gateway.tunnel.ANSWER_LIMIT_S", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(UpstreamError, match="does not answer: no answer in time"),
    ):
        await open_upstream("127.0.0.1", server.getsockname()[1], b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(UpstreamError, match="is unreachable"):
        await open_upstream("no-such-host.invalid", 80, b"")
