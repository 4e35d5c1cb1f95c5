"""The image's health check against a real health server."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from tests.support.ports import free_port

from elastic_inference.base.lifecycle import HealthServer, Lifecycle
from elastic_inference.commands import healthcheck


def test_a_service_that_lives_is_alive_even_before_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    lifecycle = Lifecycle("test")
    lifecycle.declare("queue")
    server = HealthServer(lifecycle, CollectorRegistry(), 0)
    server.start()
    try:
        monkeypatch.setenv("METRICS_PORT", str(server.port))
        assert healthcheck.main() == 0
        lifecycle.beat("loop", limit_s=-1.0)
        assert "answered 503" in healthcheck.check(server.port)
        assert healthcheck.main() == 1
    finally:
        server.close()


def test_no_answer_and_a_wrong_port_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is unreachable" in healthcheck.check(free_port())
    monkeypatch.setenv("METRICS_PORT", "web")
    assert healthcheck.main() == 1
    assert "METRICS_PORT is 'web'" in capsys.readouterr().err
