"""A Redis that evicts, is in protected mode, or is an old version is reported in one line."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect, explain
from elastic_inference.adapters.redis_server_check import find_problem
from elastic_inference.base.config import QueueRules, RedisTarget, Secret
from elastic_inference.base.redis_server import as_arguments, server_settings
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.frame import Frame
from tests.conftest import missing_tool
from tests.support.gateway import JPEG, Pool, RunningGateway
from tests.support.ports import free_port
from tests.support.waiting import wait_for
from tests.support.websocket_server import Relay

EVICTS = ("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
# Debian's redis-tools has the server too, under the name of a tool that is the same program.
OLD_SERVER = Path("/usr/bin/redis-check-rdb")


def target(url: str, user: str | None = None) -> RedisTarget:
    return RedisTarget(Secret(url), user, Secret(f"{user}-pw") if user else None)


@pytest.mark.parametrize(
    ("info", "part"),
    [
        ({"redis_version": "6.2.14"}, "is version 6.2.14: 7.0 or newer is needed"),
        ({"redis_version": "7.0.15", "maxmemory_policy": "volatile-ttl", "maxmemory": 1}, "(volatile-ttl)"),
        ({"redis_version": "7.0.15", "maxmemory_policy": "noeviction", "maxmemory": 1}, None),
        ({"redis_version": "7.2.4", "maxmemory_policy": "allkeys-lru", "maxmemory": 0}, None),
        ({"redis_version": "unstable"}, None),
        ({}, None),
    ],
)
def test_the_output_of_info(info: dict[str, object], part: str | None) -> None:
    found = find_problem(info)
    assert found is None if part is None else part in str(found)


def test_services_say_that_redis_evicts_and_that_it_no_longer_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("elastic_inference.adapters.redis_server_check.CHECK_EVERY_S", 0.2)
    with (
        EmbeddedValkey(options=EVICTS) as server,
        RunningGateway(server.url) as gateway,
        Relay(queue_url=server.url) as relay,
    ):
        for service, part in ((gateway, "queue server"), (relay, "broker server")):
            why = wait_for(lambda: service.lifecycle.degraded().get(part), what=f"the {part}'s line")  # noqa: B023
            assert "evicts keys" in why
            assert "allkeys-lru" in why
        with redis.Redis(port=server.port) as admin:
            admin.config_set("maxmemory-policy", "noeviction")
        wait_for(lambda: not gateway.lifecycle.degraded() and not relay.lifecycle.degraded(), what="the end")
    lines = [record.getMessage() for record in caplog.records if "evicts keys" in record.getMessage()]
    assert len(lines) == 2, "one line a service"


def test_housekeeping_and_status_say_that_redis_evicts(tmp_path: Path) -> None:
    with EmbeddedValkey(options=EVICTS) as server:
        log = tmp_path / "log"
        environ = {**os.environ, "QUEUE_URL": server.url, "METRICS_PORT": "0"}
        with log.open("w") as out:
            service = subprocess.Popen(
                [sys.executable, "-m", "elastic_inference.flows.housekeeping.housekeeping_service"],
                stderr=out,
                env=environ,
            )
        try:
            wait_for(lambda: "evicts keys" in log.read_text(), 20, "the line in the log")
        finally:
            service.terminate()
            service.wait(10)
        done = subprocess.run(
            [sys.executable, "-m", "elastic_inference.commands.status.main", "--json", "-q", server.url],
            capture_output=True,
            text=True,
            check=False,
        )
        findings = {each["link"]: each for each in json.loads(done.stdout)["findings"]}
        assert findings["queue"]["state"] == "BROKEN"
        assert "allkeys-lru" in findings["queue"]["text"]


def test_a_user_that_may_not_run_info_is_not_degraded(tmp_path: Path) -> None:
    acl = tmp_path / "users.acl"
    acl.write_text(render_acl({user: f"{user}-pw" for user in USERS}))
    with EmbeddedValkey(options=(*EVICTS, "--aclfile", str(acl))) as server:
        login = {"QUEUE_USERNAME": "worker", "QUEUE_PASSWORD": "worker-pw"}
        with RunningGateway(server.url, **login) as gateway:
            with redis.Redis(port=server.port, username="admin", password="admin-pw") as admin:
                wait_for(lambda: any(entry["object"] == "info" for entry in admin.acl_log()), what="the refused INFO")
            assert "queue server" not in gateway.lifecycle.degraded()


def other_address() -> str | None:
    """An address of this machine besides loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])
    return None


def test_protected_mode_has_a_sentence_of_its_own() -> None:
    address = other_address()
    if address is None or address.startswith("127."):
        pytest.skip("this machine has no address besides loopback")
    with EmbeddedValkey(options=("--bind", "0.0.0.0")) as server:
        there = target(f"redis://{address}:{server.port}/0")
        with connect(there, name="test") as client:

            def sentence() -> str:
                try:
                    client.ping()
                except redis.RedisError as error:
                    return explain(error, there)
                return ""

            # The server closes the connection at once: whether its words arrive first is a matter of luck.
            wait_for(lambda: "is in protected mode" in sentence(), what="the sentence")


@contextlib.contextmanager
def old_server(options: Sequence[str]) -> Iterator[int]:
    """The port of Debian's Redis, version 7.0 in Debian 12."""
    if not OLD_SERVER.exists():
        missing_tool("redis-tools")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    process = subprocess.Popen(command, executable=OLD_SERVER, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port, process), what="Redis")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "it does not start with these options"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_redis_7_0_takes_the_users_and_serves(tmp_path: Path) -> None:
    acl = tmp_path / "users.acl"
    acl.write_text(render_acl({user: f"{user}-pw" for user in USERS}))
    settings = as_arguments(server_settings("64mb", 4 << 20))
    with old_server((*settings, "--aclfile", str(acl), "--dir", str(tmp_path))) as port:
        url = f"redis://127.0.0.1:{port}/0"
        with connect(target(url, "camera"), name="camera") as camera, connect(target(url, "worker")) as worker:
            producer = QueueProducer(camera, "people", "cam", QueueRules())
            producer.push(Frame(name="cam", category="people", data=JPEG, width=320, height=240, seq=1, ts=1.0))
            Pool(worker, "cam").publish()
        login = {"QUEUE_USERNAME": "viewer", "QUEUE_PASSWORD": "viewer-pw"}
        with RunningGateway(url, **login) as gateway:
            wait_for(lambda: gateway.ask("/api/streams").json.get("streams"), what="the stream")
            assert gateway.lifecycle.degraded() == {}
        with redis.Redis(port=port, username="admin", password="admin-pw") as admin:
            assert admin.acl_log() == [], "no service used a command that its user may not"


@pytest.mark.parametrize("ends", ["expires", "is replaced"])
def test_large_values_are_freed_beside_the_commands(ends: str) -> None:
    """A client can write a million entries one by one, and then have them all freed by one command."""
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as client:
        client.zadd("large", {str(number): number for number in range(1000)})
        if ends == "expires":
            client.pexpire("large", 0)
        else:
            client.set("large", "x")
        wait_for(lambda: client.info("memory")["lazyfreed_objects"] == 1, what="the value to be freed")
