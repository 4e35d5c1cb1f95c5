"""Real servers in every form that a URL can name: a cluster, sentinels, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis

from elastic_inference.adapters.redis_cluster import SlotFinder, slot_of
from elastic_inference.commands.embedded_valkey import EmbeddedValkey, server_binary
from tests.support.certificates import Authority
from tests.support.looped import Looped
from tests.support.ports import free_port
from tests.support.waiting import wait_for

SLOTS = 16384


@contextlib.contextmanager
def cluster(
    size: int, *, replica_of: int | None = None, options: Sequence[str] = (), login: Mapping[str, str] | None = None
) -> Iterator[list[EmbeddedValkey]]:
    """A cluster of `size` masters, slots in equal ranges, ready; one of them may have a replica, which comes last.

    `login` is that of a user who may do everything.
    """
    count = size if replica_of is None else size + 1
    user = dict(login or {})
    with contextlib.ExitStack() as stack:
        buses = [free_port() for _ in range(count)]
        servers = [
            stack.enter_context(
                EmbeddedValkey(options=("--cluster-enabled", "yes", "--cluster-port", str(bus), *options))
            )
            for bus in buses
        ]
        clients = [stack.enter_context(redis.Redis(port=server.port, **user)) for server in servers]
        for index, client in enumerate(clients):
            if index < size:
                first, last = SLOTS * index // size, SLOTS * (index + 1) // size - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            if index:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port, buses[0])
        wait_for(lambda: all(_cluster_ready(client, count) for client in clients), 60, "the cluster", every_s=0.1)
        if replica_of is not None:
            _replicate(clients[-1], clients[replica_of])
        yield servers


# Where clients find the servers of a TLS cluster, which are at 127.0.0.1 themselves.
TLS_HOST = "127.0.0.2"


@contextlib.contextmanager
def tls_cluster(
    size: int, folder: Path, *, replica_of: int | None = None, options: Sequence[str] = ()
) -> Iterator[tuple[list[EmbeddedValkey], str, Path]]:
    """As `cluster`, with a TLS port in front of each server, which is where the cluster sends its clients.

    Yields the servers, the URL of all, and the file of the authority.
    """
    announced = ("--cluster-announce-client-ipv4", TLS_HOST)
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(cluster(size, replica_of=replica_of, options=(*announced, *options)))
        authority = Authority(folder, "cluster")
        context = authority.server(TLS_HOST)
        for each in servers:
            stack.enter_context(TlsFront(each, folder, tls=context, listens=(TLS_HOST, each.port)))
        url = "rediss+cluster://" + ",".join(f"{TLS_HOST}:{each.port}" for each in servers)
        yield servers, url, authority.ca_file


def _cluster_ready(client: redis.Redis, size: int) -> bool:
    info: Any = client.execute_command("CLUSTER INFO")
    return bool(info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == size)


def _replicate(replica: redis.Redis, master: redis.Redis) -> None:
    name = master.execute_command("CLUSTER", "MYID")

    def asked() -> bool:
        with contextlib.suppress(redis.ResponseError):  # it does not know its master yet
            replica.execute_command("CLUSTER", "REPLICATE", name)
            return True
        return False

    wait_for(asked, 30, "a node that knows its master")
    wait_for(lambda: replica.info("replication").get("master_link_status") == "up", 60, "the replica")


def owner_index(size: int, key: str) -> int:
    """Which of the masters of `cluster(size)` owns the slot of a key."""
    return next(index for index in range(size) if slot_of(key) < SLOTS * (index + 1) // size)


def owner_of(servers: Sequence[EmbeddedValkey], key: str, login: Mapping[str, str] | None = None) -> EmbeddedValkey:
    """The server that owns the slot of a key, as the first one that runs says."""
    table = SlotFinder([("127.0.0.1", each.port) for each in servers], dict(login or {})).find()
    port = table.owner(slot_of(key))[1]
    return {each.port: each for each in servers}[port]


@contextlib.contextmanager
def sentinels(master: EmbeddedValkey, folder: Path, name: str, count: int = 3) -> Iterator[list[int]]:
    """Ports of `count` sentinels that watch `master` and know each other."""
    ports = [free_port() for _ in range(count)]
    processes = []
    try:
        for port in ports:
            conf = folder / f"sentinel-{port}.conf"
            conf.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor {name} 127.0.0.1 {master.port} 2\n"
                f"sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 2000\n"
            )
            processes.append(
                subprocess.Popen(
                    [server_binary(), str(conf), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
        for port in ports:
            wait_for(lambda port=port: _sentinel_knows(port, name, count - 1), 20, "the sentinels", every_s=0.1)
        yield ports
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


def _sentinel_knows(port: int, name: str, others: int) -> bool:
    with contextlib.suppress(redis.ConnectionError), redis.Redis(port=port) as client:
        state: Any = client.sentinel_master(name)
        return int(state["num-other-sentinels"]) == others
    return False


class TlsFront(Looped):
    """A TLS port in front of a server, with a certificate of a temporary CA: the embedded server has no TLS."""

    def __init__(
        self,
        server: EmbeddedValkey,
        folder: Path,
        host: str = "localhost",
        tls: ssl.SSLContext | None = None,
        *,
        listens: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        """`tls` is the context to use instead of one for `host`. It `listens` at that address and port, 0 for any."""
        super().__init__()
        self._listens = listens
        authority = Authority(folder, "front")
        self.ca_file = authority.ca_file
        self._context = tls or authority.server(host)
        self._server = server

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            tasks.add(task)
            with contextlib.suppress(OSError, ssl.SSLError):
                back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._server.port)
                await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))
            writer.close()
            tasks.discard(task)

        listener = await asyncio.start_server(serve, *self._listens, ssl=self._context)
        await self._until_stopped(listener)
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
