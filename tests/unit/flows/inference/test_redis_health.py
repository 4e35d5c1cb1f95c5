"""Readiness and log lines for a Redis that is unavailable, and for a bug."""

from __future__ import annotations

import logging

import pytest
from redis.exceptions import ConnectionError

from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.flows.inference.redis_health import RedisHealth


def test_an_unavailable_redis_is_one_line_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    lifecycle = Lifecycle("inference")
    lifecycle.declare("queue")
    health = RedisHealth("queue", lifecycle, lambda error: f"the queue is unreachable ({error})")
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        health.failed(ConnectionError("refused"), "a pop")
    assert lifecycle.missing()["queue"] == "the queue is unreachable (refused)"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.records[0].exc_info is None
    health.works()
    assert "queue" not in lifecycle.missing()


def test_a_bug_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    lifecycle = Lifecycle("inference")
    RedisHealth("broker", lifecycle, str).failed(ValueError("a bug"), "a publish")
    assert "a publish failed: ValueError" in lifecycle.missing()["broker"]
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
