"""Every pod computes the rate of the whole stream, however many pods share it."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.stream_broker.stream_meter import FORGET_AFTER_S, StreamMeter

START = 1_790_000_000_000_000


def feed(meter: StreamMeter, orders: range, fps: float, start_s: float = 0.0, first: int = START) -> list[float]:
    """Adds results at `fps`; `first` arrives at `start_s`. Returns the rates that were reported."""
    rates = []
    for order in orders:
        reading = meter.add("a:t:inferred", order, 10.0, start_s + (order - first) / fps)
        if reading is not None:
            rates.append(reading.fps)
    return rates


def test_the_first_result_is_reported_at_once_with_a_rate_of_zero() -> None:
    reading = StreamMeter().add("a:t:inferred", START, 12.5, 100.0)
    assert reading is not None
    assert (reading.fps, reading.latency_ms) == (0.0, 12.5)


def test_a_steady_stream_is_reported_once_a_second_with_its_rate() -> None:
    rates = feed(StreamMeter(), range(START, START + 300), 30.0)
    assert 9 <= len(rates) <= 11
    assert rates[1:] == pytest.approx([30.0] * (len(rates) - 1), rel=0.01)


def test_each_of_three_pods_arrives_at_the_rate_of_the_whole_stream() -> None:
    for share in range(3):
        rates = feed(StreamMeter(), range(START + share, START + 300, 3), 30.0)
        assert rates[1:] == pytest.approx([30.0] * (len(rates) - 1), rel=0.01)


def test_results_out_of_order_do_not_lower_the_rate() -> None:
    meter = StreamMeter()
    rates = []
    for pair in range(0, 300, 2):
        for order in (pair + 1, pair):
            reading = meter.add("a:t:inferred", order, 1.0, pair / 30.0)
            if reading is not None:
                rates.append(reading.fps)
    assert rates[-1] == pytest.approx(30.0, rel=0.05)


def test_a_counter_that_was_reset_does_not_count_as_a_burst() -> None:
    meter = StreamMeter()
    feed(meter, range(START, START + 90), 30.0)
    reset = START + 10**10
    rates = feed(meter, range(reset, reset + 90), 30.0, 3.0, first=reset)
    assert max(rates) <= 31.0
    assert rates[-1] == pytest.approx(30.0, rel=0.02)


def test_a_rate_that_changes_is_followed_within_the_window() -> None:
    meter = StreamMeter()
    feed(meter, range(START, START + 300), 30.0)
    rates = feed(meter, range(START + 300, START + 360), 5.0, 10.0, first=START + 300)
    assert rates[6:] == pytest.approx([5.0] * len(rates[6:]), rel=0.05)


def test_a_slow_stream_is_reported_at_every_frame() -> None:
    rates = feed(StreamMeter(), range(START, START + 6), 0.1)
    assert rates[1:] == pytest.approx([0.1] * 5, rel=0.01)


def test_latency_is_the_mean_since_the_last_report() -> None:
    meter = StreamMeter()
    meter.add("a:t:inferred", START, 100.0, 0.0)
    meter.add("a:t:inferred", START + 1, 10.0, 0.5)
    reading = meter.add("a:t:inferred", START + 2, 20.0, 1.0)
    assert reading is not None
    assert reading.latency_ms == pytest.approx(15.0)


def test_streams_that_are_gone_are_forgotten() -> None:
    meter = StreamMeter()
    for index in range(100):
        meter.add(f"s{index}:t:inferred", START, 1.0, 0.0)
    meter.add("late:t:inferred", START, 1.0, FORGET_AFTER_S + 1)
    assert len(meter) == 1
