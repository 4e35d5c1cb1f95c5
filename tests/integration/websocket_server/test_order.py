"""Gaps in the order of a stream: no result waits for a tombstone; without one, REORDER_MS decides."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
import redis

from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.result import parse_result
from elastic_inference.domain.sequence import Tombstone
from tests.support.raw_viewer import RawViewer
from tests.support.waiting import TIME_FACTOR, wait_for
from tests.support.websocket_server import JPEG, RESULT, STREAM, Relay, message, orders, publish_together

REORDER_S = 1.0
FRAMES = 90
# Whole, with a gap that a tombstone fills, with a gap that nothing fills.
WHOLE, BURIED, OPEN = (f"{name}:people:inferred" for name in ("whole", "buried", "open"))


def is_broken(order: int) -> bool:
    """Every tenth frame."""
    return order % 10 == 5


class Reader(threading.Thread):
    """Records when each result arrived, until the last one."""

    def __init__(self, viewer: RawViewer) -> None:
        super().__init__(daemon=True)
        self._viewer = viewer
        self.arrived_s: dict[int, float] = {}
        self.start()

    def run(self) -> None:
        with self._viewer:
            while FRAMES not in self.arrived_s:
                order = parse_result(self._viewer.read()[1]).order
                self.arrived_s[order] = time.monotonic()

    def waits_s(self, sent_s: dict[int, float]) -> dict[int, float]:
        """The wait of each result."""
        self.join(10 * TIME_FACTOR)
        return {order: at_s - sent_s[order] for order, at_s in self.arrived_s.items()}


def warmed_up(relay: Relay, client: redis.Redis, *streams: str) -> list[RawViewer]:
    """A viewer of each stream, whose start is over: result 0 has passed."""
    viewers = []
    for stream in streams:
        client.hset(keys.stream_info(stream), "type", "people")
        viewers.append(relay.open(f"/{stream}?format=json"))
    channels = [channel for stream in streams for channel in (stream, keys.tombstones(stream))]
    wait_for(lambda: all(count == 1 for _, count in client.pubsub_numsub(*channels)), what="the subscriptions")
    for stream in streams:
        client.publish(stream, message(0))
    assert [orders(viewer, 1) for viewer in viewers] == [[0]] * len(viewers)
    return viewers


def send(publisher: ResultPublisher, order: int) -> None:
    """One frame of each stream, whole or broken."""
    good = [stream for stream in (WHOLE, BURIED, OPEN) if stream is WHOLE or not is_broken(order)]
    batch = [(dataclasses.replace(RESULT, stream=stream, order=order, seq=order), JPEG) for stream in good]
    publisher.publish(batch, [Tombstone(BURIED, order, "invalid")] if is_broken(order) else [])


@pytest.mark.alone
def test_no_result_waits_for_a_tombstone(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """Three streams of 30 fps side by side, one frame in ten of two of them has no result."""
    with Relay(queue_url=valkey.url, reorder_ms=REORDER_S * 1000) as relay:
        streams = (WHOLE, BURIED, OPEN)
        readers = dict(zip(streams, map(Reader, warmed_up(relay, client, *streams)), strict=True))
        publisher = ResultPublisher(client, "people", "pod", 0)
        sent_s = {}
        for order in range(1, FRAMES + 1):
            sent_s[order] = time.monotonic()
            send(publisher, order)
            time.sleep(1 / 30)
        waits_s = {stream: sorted(reader.waits_s(sent_s).items()) for stream, reader in readers.items()}
        late = relay.metric("ei_frames_late_total")
    good = [order for order in range(1, FRAMES + 1) if not is_broken(order)]
    assert [order for order, _ in waits_s[WHOLE]] == list(range(1, FRAMES + 1))
    assert [order for order, _ in waits_s[BURIED]] == good
    assert [order for order, _ in waits_s[OPEN]] == good
    median_s, highest_s = (
        {stream: choose([wait_s for _, wait_s in waits_s[stream]]) for stream in waits_s} for choose in (median, max)
    )
    print("median and highest wait in ms:", {s: (1000 * median_s[s], 1000 * highest_s[s]) for s in waits_s})
    assert highest_s[BURIED] < REORDER_S / 2 * TIME_FACTOR, "a result waited for a tombstone"
    assert median_s[BURIED] < median_s[WHOLE] + 0.01 * TIME_FACTOR
    assert highest_s[OPEN] >= REORDER_S * 0.9, "without a tombstone the window decides"
    assert late == 0


def median(values: list[float]) -> float:
    """The middle one."""
    return sorted(values)[len(values) // 2]


@pytest.mark.alone
def test_a_result_that_waits_passes_with_the_tombstone(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    """The pod of the broken frame is slower than the one of its successor."""
    with (
        Relay(queue_url=valkey.url, reorder_ms=REORDER_S * 1000) as relay,
        warmed_up(relay, client, WHOLE)[0] as viewer,
    ):
        client.publish(keys.tombstones(WHOLE), b"nonsense")
        publisher = ResultPublisher(client, "people", "pod", 0)
        began = time.monotonic()
        publisher.publish([(dataclasses.replace(RESULT, stream=WHOLE, order=2), JPEG)])
        publisher.publish([], [Tombstone(WHOLE, 1, "stale")])
        assert orders(viewer, 1) == [2]
        assert time.monotonic() - began < REORDER_S / 2 * TIME_FACTOR
        assert relay.metric("ei_results_invalid_total") == 1


def test_results_before_the_first_arrival_are_not_late(relay: Relay, client: redis.Redis) -> None:
    """The viewer joins while a slower pod still works on the predecessor of the first result."""
    with relay.open() as viewer:
        wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
        publish_together(client, *(message(order) for order in (8, 9, 7)))
        assert orders(viewer, 3) == [7, 8, 9]
        assert relay.metric("ei_frames_late_total") == 0


def test_numbers_given_out_twice_do_not_stop_the_stream(relay: Relay, client: redis.Redis) -> None:
    """After a failover Redis counts from an older number: new frames, told apart by `ts`."""
    with relay.open() as viewer:
        wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
        for order in range(1, 10):
            client.publish(STREAM, message(order, ts=1.0))
        assert orders(viewer, 9) == list(range(1, 10))
        publish_together(client, message(9, ts=1.0), *(message(order, ts=2.0) for order in (6, 7, 8)))
        assert orders(viewer, 3) == [6, 7, 8]
        assert relay.metric("ei_frames_late_total") == 1
