"""`ei-status` against what is no Redis, a Redis with foreign keys, and options that make no sense."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from elastic_inference import keys
from elastic_inference.embedded_valkey import EmbeddedValkey
from elastic_inference.status.main import running_demo
from tests.support.scripts import web_server
from tests.support.waiting import wait_for


@pytest.fixture
def web_port() -> Iterator[int]:
    with web_server() as port:
        yield port


def status(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "elastic_inference.status.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_dashboards_port_is_told_from_the_queues(web_port: int) -> None:
    done = status("-q", "127.0.0.1", "-p", str(web_port))
    assert done.returncode == 1, done.stderr
    assert "answers HTTP: 31002 is the dashboard, the queue is 31003" in done.stdout
    assert "First broken link: queue. Give the queue's port with -p 31003." in done.stdout


def test_a_foreign_key_is_told_and_no_traceback(valkey: EmbeddedValkey) -> None:
    with redis.Redis(port=valkey.port) as client:
        client.set(keys.tokens("people"), "x")
        client.rpush(keys.plain_queue("people"), "x")
    done = status("-q", "127.0.0.1", "-p", str(valkey.port))
    assert done.returncode == 1, done.stderr
    assert "WRONGTYPE" in done.stdout


@pytest.mark.parametrize("url", ["ws://127.0.0.1:99999", "127.0.0.1:31611", "ws://[::1"])
def test_a_websocket_address_that_makes_no_sense_is_one_line(url: str) -> None:
    done = status("-w", url)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: -w='{url}' is not accepted: expected ws://host:port")
    assert done.stderr.count("\n") == 1


def test_a_demo_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    state = tmp_path / "demo.json"
    assert running_demo(state) is None
    demo = {"pid": os.getpid(), "gateway": "http://localhost:1", "queue_port": 2, "websocket_port": 3}
    # This process is no demo; one that is is called so.
    state.write_text(json.dumps(demo))
    assert running_demo(state) is None
    with subprocess.Popen([sys.executable, "-c", "input()", "ei-demo"], stdin=subprocess.PIPE) as process:
        state.write_text(json.dumps({**demo, "pid": process.pid}))
        # A process that has just begun shows no command yet.
        assert wait_for(lambda: running_demo(state), 10, "the demo to be seen") == {**demo, "pid": process.pid}
        process.communicate(b"\n")
    assert running_demo(state) is None
    for text in ("", '{"pid": 1', "[]", '{"pid": "x"}'):
        state.write_text(text)
        assert running_demo(state) is None
