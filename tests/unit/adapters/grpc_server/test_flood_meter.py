"""Which connections end when an address floods."""

from __future__ import annotations

from elastic_inference.adapters.grpc_server.flood_meter import FLOOD_BYTES, FLOOD_FRAMES, FLOOD_S, FloodMeter, Share


def test_one_connection_may_send_up_to_the_limit() -> None:
    meter, own = FloodMeter(0.0), Share()
    assert meter.counts(own, FLOOD_BYTES, 1, 1.0)
    assert not meter.counts(own, 1, 1, 2.0)
    assert meter.counts(own, FLOOD_BYTES, 1, 2.1 + FLOOD_S), "the next window"


def test_many_connections_share_the_limit_and_one_that_sends_little_stays() -> None:
    meter, keda = FloodMeter(0.0), Share()
    assert meter.counts(keda, 100, 5, 0.0)
    many = [Share() for _ in range(20)]
    kept = [meter.counts(each, 1000, FLOOD_FRAMES // 10, 1.0) for each in many]
    assert sum(kept) < 11
    assert meter.counts(keda, 100, 5, 2.0)
    late = Share()
    assert not meter.counts(late, 1, 1, 2.0), "a new connection is no way around the limit"
    assert meter.counts(Share(), 1, 1, 1.0 + FLOOD_S)


def test_it_is_idle_once_its_window_is_over() -> None:
    meter = FloodMeter(0.0)
    assert not meter.is_idle(FLOOD_S)
    assert meter.is_idle(FLOOD_S + 0.1)
