"""States of a source."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from elastic_inference.base.metrics import ProducerMetrics
from elastic_inference.flows.produce.source_watch import SourceState, SourceWatch


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def watch(registry: CollectorRegistry) -> SourceWatch:
    return SourceWatch("The camera", 2.0, ProducerMetrics(registry, "gate", ("people",)))


def value(registry: CollectorRegistry, name: str) -> float | None:
    return registry.get_sample_value(name, {"stream": "gate"})


def test_live_with_its_rate(watch: SourceWatch, registry: CollectorRegistry) -> None:
    assert watch.report(0.0).state is SourceState.RECONNECTING
    watch.opened(0.0)
    for number in range(31):
        watch.frame(number / 10, wanted=number % 2 == 0)
    report = watch.report(3.0)
    assert (report.state, report.reconnects) == (SourceState.LIVE, 0)
    assert report.fps == pytest.approx(5)
    assert value(registry, "ei_source_up") == 1
    assert value(registry, "ei_source_fps") == pytest.approx(5)


def test_a_slow_camera_has_a_rate(watch: SourceWatch) -> None:
    watch.opened(0.0)
    for number in range(3):
        watch.frame(8.0 * number)
    assert watch.report(23.0).fps == pytest.approx(1 / 8)
    assert watch.report(32.0).fps == pytest.approx(1 / 16), "the next frame is late"


def test_silence_is_a_stall_until_frames_come_again(watch: SourceWatch, registry: CollectorRegistry) -> None:
    watch.opened(0.0)
    watch.frame(0.5)
    assert not watch.check(2.4)
    assert watch.check(2.6)
    assert not watch.check(2.7), "one stall is reported once"
    assert watch.report(2.7).state is SourceState.STALLED
    watch.failed(3.0, "The read gave up.")
    assert watch.report(3.0).state is SourceState.STALLED
    watch.opened(4.0)
    assert watch.report(4.0).state is SourceState.STALLED
    watch.frame(4.1)
    report = watch.report(4.1)
    assert (report.state, report.reconnects) == (SourceState.LIVE, 1)
    assert value(registry, "ei_source_stalls_total") == 1
    assert value(registry, "ei_source_reconnects_total") == 1


def test_a_broken_connection_is_reconnecting(watch: SourceWatch, registry: CollectorRegistry) -> None:
    watch.opened(0.0)
    watch.frame(0.5)
    watch.failed(0.6, "The connection broke.")
    assert watch.report(0.6).state is SourceState.RECONNECTING
    assert watch.report(0.6).fps == 0
    watch.failed(1.0, "It can't be reached.")
    watch.opened(2.0)
    watch.frame(2.1)
    assert watch.report(2.1).state is SourceState.LIVE
    assert value(registry, "ei_source_stalls_total") == 0


def test_a_read_that_times_out_before_the_check_is_a_stall_too(watch: SourceWatch) -> None:
    watch.opened(0.0)
    watch.failed(1.95, "Nothing came.")
    assert watch.report(2.0).state is SourceState.STALLED
    watch.failed(3.0, "It can't be opened.")
    assert watch.report(3.0).state is SourceState.RECONNECTING


def test_a_long_read_that_fails_is_a_stall_though_an_old_frame_came_late(watch: SourceWatch) -> None:
    watch.opened(0.0)
    watch.frame(5.0)
    watch.failed(6.0, "Nothing came.", waited_s=1.0)
    assert watch.report(6.0).state is SourceState.STALLED


def test_repeated_failures_are_logged_once(watch: SourceWatch, caplog: pytest.LogCaptureFixture) -> None:
    for second in range(5):
        watch.failed(float(second), "It can't be reached.")
    assert caplog.text.count("It can't be reached.") == 1


def test_a_read_that_continues_after_a_stall_can_stall_again(watch: SourceWatch, registry: CollectorRegistry) -> None:
    watch.opened(0.0)
    watch.frame(0.5)
    assert watch.check(2.6)
    watch.frame(2.7)
    assert watch.report(2.7).state is SourceState.LIVE
    watch.failed(4.0, "Nothing came.", waited_s=1.3)
    assert watch.report(4.0).state is SourceState.STALLED
    assert value(registry, "ei_source_stalls_total") == 2


def test_packets_without_frames_are_a_wait_for_a_key_frame_and_not_a_stall(watch: SourceWatch) -> None:
    watch.opened(0.0)
    for number in range(60):
        watch.data(number / 10)
        assert not watch.check(number / 10)
    assert watch.report(6.0).state is SourceState.WAITING
    watch.frame(6.1)
    assert watch.report(6.1).state is SourceState.LIVE


def test_a_slow_camera_does_not_wait_for_key_frames(watch: SourceWatch) -> None:
    watch.opened(0.0)
    for number in range(1, 30):
        watch.data(number * 1.9)
        watch.frame(number * 1.9)
        assert watch.report(number * 1.9).state is SourceState.LIVE
