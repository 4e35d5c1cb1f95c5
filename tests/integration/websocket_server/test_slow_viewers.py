"""Order and slow viewers: what they see is fresh, and other viewers do not notice them."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.result import parse_result
from elastic_inference.domain.result_message import split_message
from elastic_inference.flows.relay.server import Limits
from tests.support.raw_viewer import RawViewer
from tests.support.system import ServiceProcess
from tests.support.waiting import TIME_FACTOR, wait_for
from tests.support.websocket_server import (
    BIG_JPEG,
    STREAM,
    Relay,
    check_cut_off,
    message,
    orders,
    publish_together,
    rss_bytes,
    wait_subscribed,
)


def test_results_come_in_rising_order(relay: Relay, client: redis.Redis) -> None:
    with relay.open() as viewer:
        wait_subscribed(client, relay)
        publish_together(client, *(message(order) for order in (10, 12, 11, 13, 15, 16)))
        assert orders(viewer, 6) == [10, 11, 12, 13, 15, 16]
        client.publish(STREAM, message(14))
        client.publish(STREAM, message(17))
        assert orders(viewer, 1) == [17]
        wait_for(lambda: relay.metric("ei_frames_late_total") == 1, what="the late result counted")
        client.publish(STREAM, message(1_000_000))
        assert orders(viewer, 1) == [1_000_000]


def test_a_batch_after_a_pause_arrives_whole(relay: Relay, client: redis.Redis) -> None:
    """Pods publish several frames of one stream at once: a burst is not a backlog."""
    with relay.open() as viewer:
        wait_subscribed(client, relay)
        for start in (1, 11):
            publish_together(client, *(message(order, BIG_JPEG) for order in range(start, start + 10)))
            assert orders(viewer, 10) == list(range(start, start + 10))
            time.sleep(0.4)


def test_viewer_that_reads_nothing_is_cut_off(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    check_cut_off(Limits(ping_s=0.5, pong_s=0.5), valkey.url, client)


def test_stalled_viewers_cost_others_nothing_and_memory_stays(
    process: tuple[ServiceProcess, int], client: redis.Redis
) -> None:
    service, port = process
    assert service.process is not None
    stalled = [RawViewer(port, f"/{STREAM}?format=frame", receive_buffer_bytes=4096) for _ in range(3)]
    with RawViewer(port, f"/{STREAM}?format=frame") as reader:
        wait_for(lambda: service.metric("ei_viewers") == 4, what="four viewers")
        wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
        order = 0

        def exchange(count: int) -> None:
            nonlocal order
            for _ in range(count):
                order += 1
                client.publish(STREAM, message(order, BIG_JPEG))
                assert parse_result(split_message(reader.read()[1])[0]).order == order

        exchange(100)
        before = rss_bytes(service.process)
        exchange(900)
        grown = rss_bytes(service.process) - before
    # 900 frames of 50 kB for three that read nothing are 135 MB.
    assert grown < 8_000_000, f"memory grew by {grown / 1e6:.1f} MB"
    assert service.metric("ei_viewer_frames_skipped_total") > 2000
    for viewer in stalled:
        viewer.close()


@pytest.mark.alone
def test_slow_viewer_sees_fresh_frames_and_stays_there(
    process: tuple[ServiceProcess, int], client: redis.Redis
) -> None:
    """Reads 10 of 30 frames per second, 50 kB each, for 5 s: after 3 s every frame is at most 1 s old."""
    service, port = process
    with RawViewer(port, f"/{STREAM}?format=frame") as viewer:
        wait_for(lambda: client.pubsub_numsub(STREAM)[0][1] == 1, what="the subscription")
        stop = threading.Event()

        def publish() -> None:
            order, due = 0, time.monotonic()
            with redis.Redis(port=client.connection_pool.connection_kwargs["port"]) as own:
                while not stop.is_set():
                    order += 1
                    own.publish(STREAM, message(order, BIG_JPEG, ts=time.monotonic()))
                    due += 1 / 30
                    stop.wait(max(due - time.monotonic(), 0))

        publisher = threading.Thread(target=publish)
        publisher.start()
        try:
            ages, seen, began = [], [], time.monotonic()
            due = began
            while time.monotonic() - began < 5:
                result = parse_result(split_message(viewer.read()[1])[0])
                assert result.ts is not None
                ages.append((time.monotonic() - began, time.monotonic() - result.ts))
                seen.append(result.order)
                due += 0.1
                time.sleep(max(due - time.monotonic(), 0))
        finally:
            stop.set()
            publisher.join()
    assert seen == sorted(set(seen))
    assert len(seen) >= 32
    late = [age for at, age in ages if at > 3]
    assert max(late) < 1.0 * TIME_FACTOR, f"oldest {max(late):.2f} s"
    assert service.metric("ei_viewer_frames_skipped_total") > 0


@pytest.mark.alone
def test_slow_viewer_of_small_messages_sees_fresh_ones(relay: Relay, client: redis.Redis) -> None:
    """Sockets hold minutes of JSON: only unanswered pings show that it is unread."""
    with relay.open() as viewer:
        wait_subscribed(client, relay)
        order, read = 0, 0
        began = time.monotonic()
        behind = []
        while time.monotonic() - began < 5:
            for _ in range(3):
                order += 1
                client.publish(STREAM, message(order))
                time.sleep(1 / 30)
            read = orders(viewer, 1)[0]
            behind.append(order - read)
    # 50 were read; without pacing the last one would be number 50 of 150. Small messages fill no buffer, so a viewer
    # that turns slow is up to 2.5 s behind before unanswered pings show it.
    assert max(behind[-10:]) <= 75, behind
