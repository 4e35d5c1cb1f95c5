"""Redis' own limits on connections: what `timeout` closes and what it spares, and how a full server behaves."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters import redis_pipeline
from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect, connect_async, explain
from elastic_inference.base.config import QueueRules, RedisTarget, Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from tests.support.manifests import CORE, PROJECT, made
from tests.support.waiting import wait_for, wait_for_async


def names(client: redis.Redis) -> set[str]:
    """The names of the connections that are open."""
    return {each["name"] for each in client.client_list()}


async def test_a_silent_connection_is_closed_and_ours_come_back_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_pipeline, "IDLE_S", 0.2)
    with EmbeddedValkey(options=("--timeout", "1")) as server, redis.Redis(port=server.port) as watcher:
        target = RedisTarget(url=Secret(server.url))
        stranger = socket.create_connection((server.host, server.port))
        client, later = connect(target, name="ours"), connect_async(target, name="ours-async")
        camera = QueueProducer(
            connect(target, key=keys.legacy_queue("people"), name="camera"), "people", "gate", QueueRules()
        )
        frame = Frame(name="gate", category="people", data=b"\xff\xd8", width=8, height=8, seq=1, ts=1.0)
        subscriber = redis.Redis(port=server.port, client_name="subscriber").pubsub()
        subscriber.subscribe("news")
        waited: list[object] = []
        blocked = redis.Redis(port=server.port, client_name="blocked", socket_timeout=10)
        reader = threading.Thread(
            target=lambda: waited.append(blocked.xread({"results_people": "$"}, block=4000)), daemon=True
        )
        reader.start()
        assert client.ping()
        assert await later.ping()
        assert camera.push(frame).pushed
        silent = {"ours", "ours-async", "camera", ""}
        assert silent <= names(watcher)
        await wait_for_async(lambda: not (silent - {""}) & names(watcher), 15, "the silent ones to be closed")
        stranger.settimeout(10)
        assert stranger.recv(1) == b"", "one that never logged in"
        assert {"subscriber", "blocked"} <= names(watcher), "these wait for something"
        assert client.ping()
        assert await later.ping()
        assert camera.push(frame).pushed
        camera.report_source("live", 1.0, 0, 0)
        reader.join(10)
        assert waited in ([[]], [{}], [None])
        watcher.publish("news", "hello")
        wait_for(lambda: (subscriber.get_message(timeout=1) or {}).get("data") == b"hello", what="the news")
        camera.close()
        client.close()
        await later.aclose()
        subscriber.close()
        stranger.close()


@contextmanager
def full(server: EmbeddedValkey) -> Iterator[None]:
    """Holds all connections that the server has."""
    with ExitStack() as held:

        def refused() -> bool:
            each = held.enter_context(socket.create_connection((server.host, server.port)))
            each.settimeout(0.3)
            try:
                return each.recv(100).startswith(b"-ERR max number of clients")
            except TimeoutError:
                return False

        wait_for(refused, what="a server without a free place")
        yield


def test_a_full_server_says_so_in_one_sentence() -> None:
    with EmbeddedValkey(options=("--maxclients", "3")) as server, full(server):
        target = RedisTarget(url=Secret(server.url))
        with pytest.raises(redis.ConnectionError) as caught:
            connect(target, name="camera").ping()
        assert "refuses new connections: all of its maxclients are in use" in explain(caught.value, target)


# A stand-in for valkey-cli: it prints what the server says, or why it cannot ask.
CLI = """#!{python}
import socket
try:
    with socket.create_connection(("127.0.0.1", {port}), 5) as server:
        server.sendall(b"PING\\r\\n")
        print(server.recv(1000).decode().strip("+-\\r\\n"))
except OSError as error:
    print("Could not connect:", error.strerror)
"""


def probes(tmp_path: Path, *options: str) -> dict[str, list[str]]:
    """The commands of Redis' probes in the generated core."""
    documents = made(tmp_path / "core.yaml", "-f", str(PROJECT / CORE), *options)
    (pod,) = [
        each["spec"]["template"]["spec"]
        for each in documents
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "ei-redis-deployment"
    ]
    (container,) = pod["containers"]
    return {kind: container[f"{kind}Probe"]["exec"]["command"] for kind in ("startup", "readiness", "liveness")}


def succeeds(command: list[str], folder: Path, port: int) -> bool:
    folder.mkdir(exist_ok=True)
    cli = folder / "valkey-cli"
    cli.write_text(CLI.format(python=sys.executable, port=port))
    cli.chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run(command, env=environment, timeout=30, check=False).returncode == 0


def test_the_probes_pass_while_all_connections_are_in_use(tmp_path: Path) -> None:
    commands = probes(tmp_path)
    with EmbeddedValkey(options=("--maxclients", "3")) as server:
        for kind, command in commands.items():
            assert succeeds(command, tmp_path / "bin", server.port), kind
        with full(server):
            for kind, command in commands.items():
                assert succeeds(command, tmp_path / "bin", server.port), kind
        port = server.port
    for kind, command in commands.items():
        assert not succeeds(command, tmp_path / "bin", port), kind


def test_with_tls_a_server_that_closes_is_alive_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    commands = probes(tmp_path, "--redis-tls", "redis-tls")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        closing = threading.Thread(target=lambda: [server.accept()[0].close() for _ in range(2)], daemon=True)
        closing.start()
        assert succeeds(commands["liveness"], tmp_path / "bin", port)
        assert not succeeds(commands["readiness"], tmp_path / "bin", port)
        closing.join(10)
    assert not succeeds(commands["liveness"], tmp_path / "bin", port)
