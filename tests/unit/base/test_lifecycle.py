"""Readiness, liveness, the stop, and the port that shows them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, Counter
from tests.support.descriptors import no_descriptor_left
from tests.support.waiting import wait_for

from elastic_inference.base.bounded_server import MAX_CONNECTIONS
from elastic_inference.base.lifecycle import HealthServer, Lifecycle


@pytest.fixture
def served() -> Iterator[tuple[Lifecycle, HealthServer]]:
    registry = CollectorRegistry()
    Counter("ei_test", "A test.", registry=registry).inc(3)
    lifecycle = Lifecycle("test")
    server = HealthServer(lifecycle, registry, 0, "127.0.0.1")
    server.start()
    yield lifecycle, server
    server.close()


def ask(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_ready_when_every_part_is_and_until_the_stop(served: tuple[Lifecycle, HealthServer]) -> None:
    lifecycle, server = served
    status, body = ask(server, "/readyz")
    assert (status, json.loads(body)["missing"]) == (503, {"service": "starting"}), "nothing is said yet"
    lifecycle.declare("redis")
    lifecycle.declare("model")
    lifecycle.set_ready("model")
    status, body = ask(server, "/readyz")
    assert (status, json.loads(body)["missing"]) == (503, {"redis": "starting"})
    lifecycle.set_ready("redis")
    assert ask(server, "/readyz")[0] == 200
    lifecycle.set_missing("redis", "unavailable")
    assert json.loads(ask(server, "/readyz")[1])["missing"] == {"redis": "unavailable"}
    lifecycle.set_ready("redis")
    lifecycle.stop()
    assert ask(server, "/readyz")[0] == 503
    assert ask(server, "/healthz")[0] == 200, "a stopping service is alive"


def test_a_part_that_stops_beating_is_stuck(served: tuple[Lifecycle, HealthServer]) -> None:
    lifecycle, server = served
    lifecycle.beat("loop", 0.05)
    wait_for(lambda: ask(server, "/healthz")[0] == 503, what="the missed beat")
    assert "loop" in json.loads(ask(server, "/healthz")[1])["stuck"]
    lifecycle.beat("loop", 60)
    assert ask(server, "/healthz")[0] == 200
    lifecycle.beat("loop", 0.0)
    lifecycle.end_beat("loop")
    assert ask(server, "/healthz")[0] == 200


def test_metrics_and_unknown_paths(served: tuple[Lifecycle, HealthServer]) -> None:
    assert "ei_test_total 3.0" in ask(served[1], "/metrics?x=1")[1]
    assert ask(served[1], "/")[0] == 404


def test_silent_connections_keep_no_probe_out(served: tuple[Lifecycle, HealthServer]) -> None:
    with ExitStack() as held:
        first = held.enter_context(socket.create_connection(("127.0.0.1", served[1].port)))
        for _ in range(MAX_CONNECTIONS + 10):
            held.enter_context(socket.create_connection(("127.0.0.1", served[1].port)))
        assert ask(served[1], "/healthz")[0] == 200
        first.settimeout(5)
        assert first.recv(1) == b"", "the oldest is closed"
        threads = [each for each in threading.enumerate() if "process_request_thread" in each.name]
        wait_for(lambda: sum(each.is_alive() for each in threads) <= MAX_CONNECTIONS, what="the end of further threads")


def test_without_descriptors_the_health_port_rests(
    served: tuple[Lifecycle, HealthServer], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as waiting:
        with no_descriptor_left():
            waiting.connect(("127.0.0.1", served[1].port))
            before = time.process_time()
            time.sleep(0.8)
            assert time.process_time() - before < 0.4, "an accept that fails must not be repeated at once"
        assert [each for each in caplog.messages if "no connection can be accepted" in each][1:] == []
        waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        waiting.settimeout(5)
        assert waiting.recv(12) == b"HTTP/1.1 200"


def test_port_in_use_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        HealthServer(Lifecycle("test"), CollectorRegistry(), taken.getsockname()[1], "127.0.0.1")


def test_the_port_listens_at_the_given_address() -> None:
    server = HealthServer(Lifecycle("test"), CollectorRegistry(), 0, "127.0.0.2")
    server.start()
    try:
        socket.create_connection(("127.0.0.2", server.port), 5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), 5)
    finally:
        server.close()


def test_no_name_service_is_asked_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"the name service was asked for {name!r}")

    monkeypatch.setattr(socket, "gethostbyaddr", refuse)
    server = HealthServer(Lifecycle("test"), CollectorRegistry(), 0)
    server.start()
    server.close()


def test_signal_begins_the_stop_once() -> None:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    calls: list[int] = []
    try:
        lifecycle = Lifecycle("test")
        lifecycle.on_stop(lambda: calls.append(1))
        lifecycle.install_signal_handlers()
        assert not lifecycle.wait_stop(0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert lifecycle.wait_stop(5)
        lifecycle.stop()
        assert calls == [1]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "a second one ends the process"
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_a_signal_that_interrupts_the_main_thread_while_it_holds_a_lock_ends_the_process() -> None:
    code = """
import os, signal
from elastic_inference.base.lifecycle import Lifecycle

class Part(str):
    asked = False

    def __hash__(self):  # called while `beat` holds its lock
        if not self.asked:
            self.asked = True
            os.kill(os.getpid(), signal.SIGTERM)
        return 1

lifecycle = Lifecycle("test")
lifecycle.install_signal_handlers()
lifecycle.beat(Part("events"))
print(lifecycle.wait_stop(20))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True\n"


def test_a_thread_that_fails_or_returns_unasked_stops_the_service() -> None:
    def fail() -> None:
        raise KeyError("bug")

    for body, why in ((fail, "KeyError('bug')"), (lambda: None, "it returned")):
        lifecycle = Lifecycle("test")
        thread = lifecycle.thread("pop", body)
        thread.start()
        thread.join(10)
        assert lifecycle.stopping
        assert lifecycle.failure == f"the thread pop ended: {why}"


def test_a_thread_that_may_end_stops_the_service_only_if_it_fails() -> None:
    lifecycle = Lifecycle("test")
    for body, stopping in ((lambda: None, False), (lambda: {}["missing"], True)):
        thread = lifecycle.thread("worker", body, may_end=True)
        thread.start()
        thread.join(10)
        assert lifecycle.stopping is stopping


def test_a_thread_that_ends_after_the_stop_is_not_a_failure() -> None:
    lifecycle = Lifecycle("test")
    thread = lifecycle.thread("pop", lambda: lifecycle.wait_stop(10) and None)
    thread.start()
    lifecycle.stop()
    thread.join(10)
    assert lifecycle.failure is None


def test_a_reason_from_outside_is_one_short_line() -> None:
    lifecycle = Lifecycle("test")
    lifecycle.declare("queue", "no\nline" + "x" * 2**20)
    lifecycle.set_degraded("broker", "no\nline" + "x" * 2**20)
    for reasons in (lifecycle.missing(), lifecycle.degraded()):
        (reason,) = reasons.values()
        assert reason.startswith("no\\nline")
        assert len(reason) < 600
