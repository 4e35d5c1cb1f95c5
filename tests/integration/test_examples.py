"""doc/examples: each runs as its text says, through silence and a restart of Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.conftest import REPOSITORY
from tests.support.ports import free_port
from tests.support.waiting import wait_for

EXAMPLES = REPOSITORY / "doc" / "examples"
SECRET = "pa55-of-the-reader"
KEY = keys.results("people")
# Runs an example on a clock that is this many times faster: the time-outs of redis-py and of its blocking commands.
# EI_TEST_FASTER=1 waits the whole minute.
FASTER = int(os.environ.get("EI_TEST_FASTER", "15"))
FAST_CLOCK = f"""
import runpy, sys
import redis.client, redis.connection

made, sent = redis.connection.AbstractConnection.__init__, redis.client.Redis.execute_command

def make(self, *args, **options):
    limit = options.get("socket_timeout", redis.connection.DEFAULT_SOCKET_TIMEOUT)
    made(self, *args, **options | {{"socket_timeout": limit and limit / {FASTER}}})

def send(self, *words, **options):
    at = [index + 1 for index, word in enumerate(words) if word in ("BLOCK", b"BLOCK")]
    return sent(self, *(int(word) // {FASTER} if index in at else word for index, word in enumerate(words)), **options)

redis.connection.AbstractConnection.__init__, redis.client.Redis.execute_command = make, send
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    file = tmp_path / "users.acl"
    file.write_text(render_acl({**dict.fromkeys(USERS, "other"), "reader": SECRET}))
    return file


@contextmanager
def running(example: str, port: int, *, fast: bool = False) -> Iterator[subprocess.Popen[str]]:
    start = [sys.executable, *(("-c", FAST_CLOCK) if fast else ())]
    with subprocess.Popen(
        [*start, str(EXAMPLES / example), "people"],
        env={**os.environ, "BROKER_URL": f"redis://reader:{SECRET}@127.0.0.1:{port}/0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def admin_of(server: EmbeddedValkey) -> redis.Redis:
    return redis.Redis(port=server.port, username="admin", password="other")


def wait_joined(admin: redis.Redis) -> None:
    wait_for(lambda: admin.exists(KEY) and admin.xinfo_groups(KEY), 20, "the consumer group")


def publish(admin: redis.Redis, *labels: str) -> None:
    admin.xadd(KEY, {"json": json.dumps({"detections": [{"label": each} for each in labels]})})


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def errors_of(process: subprocess.Popen[str]) -> str:
    process.kill()
    return process.communicate()[1]


def test_results_are_counted_with_the_readers_login(users: Path) -> None:
    with (
        EmbeddedValkey(options=("--aclfile", str(users))) as server,
        admin_of(server) as admin,
        running("count_results.py", server.port) as process,
    ):
        wait_joined(admin)
        publish(admin, "person", "person")
        assert next_line(process) == "{'person': 2}\n"
        assert SECRET.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert errors_of(process) == ""


def test_a_minute_of_silence_is_survived(users: Path) -> None:
    with (
        EmbeddedValkey(options=("--aclfile", str(users))) as server,
        admin_of(server) as admin,
        running("count_results.py", server.port, fast=True) as process,
    ):
        wait_joined(admin)
        time.sleep(60 / FASTER)
        publish(admin, "person")
        assert next_line(process) == "{'person': 1}\n"
        # One may come from a busy machine. If each quiet wait ended with an error, there would be three.
        assert len(errors_of(process).splitlines()) < 2


def test_a_restart_of_redis_is_survived(users: Path) -> None:
    port = free_port()
    options = ("--aclfile", str(users))
    with EmbeddedValkey(port=port, options=options) as server, running("count_results.py", port) as process:
        with admin_of(server) as admin:
            wait_joined(admin)
            publish(admin, "person")
            assert next_line(process) == "{'person': 1}\n"
        server.stop()
        with EmbeddedValkey(port=port, options=options) as again, admin_of(again) as admin:
            wait_joined(admin)
            publish(admin, "person")
            assert next_line(process) == "{'person': 2}\n"
            assert "trying again" in errors_of(process)
