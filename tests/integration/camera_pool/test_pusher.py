"""Streams push their frames in their own threads, one at a time; what is offered meanwhile is pushed afterwards."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import redis
from prometheus_client import CollectorRegistry

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.metrics import ProducerFamilies, ProducerMetrics
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.flows.produce.pusher import Pusher, Pushers
from elastic_inference.flows.produce.queue_sink import QueueSink
from tests.support.jpeg import tiny_jpeg
from tests.support.waiting import wait_for

TYPE = "people"


class Site:
    """Pushers of one process, and the sink of each stream."""

    def __init__(self, valkey: EmbeddedValkey) -> None:
        self.client = redis.Redis(port=valkey.port)
        settings = config.load(config.CameraSettings, {"QUEUE_URL": valkey.url})
        self.lifecycle = Lifecycle("test")
        self.pushers = Pushers(settings, self.lifecycle, "test")
        self._families = ProducerFamilies(CollectorRegistry())
        self.consumer = QueueConsumer(self.client, TYPE, "pod", settings)
        self.consumer.load_scripts()

    def sink(self, stream: str) -> tuple[Pusher, QueueSink]:
        metrics = ProducerMetrics(self._families, stream, (TYPE,))
        return self.pushers.sink(stream, TYPE, metrics, None)

    def waiting(self) -> int:
        return int(self.client.llen(keys.tokens(TYPE)))

    def close(self) -> None:
        self.lifecycle.stop()
        self.pushers.close()
        self.consumer.close()
        self.client.close()


@pytest.fixture
def site(valkey: EmbeddedValkey) -> Iterator[Site]:
    found = Site(valkey)
    yield found
    found.close()


def frame(stream: str, seq: int) -> Frame:
    return Frame(stream, "", tiny_jpeg(), seq)


def test_a_frame_is_in_the_queue_when_offer_returns(site: Site) -> None:
    pusher, sink = site.sink("gate")
    for seq in range(3):
        pusher.offer([sink], frame("gate", seq), 0.0)
        assert site.waiting() == seq + 1
    assert [each.frame.seq for each in site.consumer.pop(8, 0).frames] == [0, 1, 2]


def test_what_is_offered_while_another_stream_pushes_goes_afterwards(site: Site) -> None:
    pusher, slow = site.sink("slow")
    _, other = site.sink("other")
    # Redis answers nobody for a moment: the first push waits, and so the connection is in use.
    pusher.offer([slow], frame("slow", 0), 0.0)
    site.client.execute_command("CLIENT", "PAUSE", 1500, "ALL")
    first = threading.Thread(target=pusher.offer, args=([slow], frame("slow", 1), 0.0))
    first.start()
    wait_for(lambda: pusher._busy, what="the first push to begin")
    for seq in range(3):
        pusher.offer([other], frame("other", seq), 0.0)  # returns at once
    assert first.is_alive()
    first.join(20)

    wait_for(lambda: site.waiting() == 3, 20, "the newest frame of the other stream")
    found = [(each.frame.name, each.frame.seq) for each in site.consumer.pop(8, 0).frames]
    assert sorted(found) == [("other", 2), ("slow", 0), ("slow", 1)]


@pytest.mark.parametrize("within_s", [None, 0.1, 0.0])
def test_many_streams_at_once_and_each_frame_is_accounted_for(site: Site, within_s: float | None) -> None:
    sinks = [site.sink(f"cam-{number}") for number in range(6)]
    pusher = sinks[0][0]

    def push(number: int) -> None:
        for seq in range(40):
            pusher.offer([sinks[number][1]], frame(f"cam-{number}", seq), 0.0, within_s)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(len(sinks))]
    for thread in threads:
        thread.start()
    popped = 0

    def pop() -> int:
        batch = site.consumer.pop(256, 0)
        return len(batch.frames) + sum(batch.dropped.values())

    while any(thread.is_alive() for thread in threads):
        popped += pop()
    wait_for(lambda: not (pusher._frames or pusher._busy), 20, "what was collected to be pushed")
    popped += pop()
    assert popped + sum(sink._dropped for _, sink in sinks) == 6 * 40


def test_a_thread_that_must_not_wait_leaves_the_answer_to_the_pusher(site: Site) -> None:
    pusher, sink = site.sink("gate")
    pusher.offer([sink], frame("gate", 0), 0.0, within_s=0.05)  # connects, in the pusher's thread
    wait_for(lambda: len(site.consumer.pop(1, 0).frames) == 1, 20, "the first frame")
    site.client.execute_command("CLIENT", "PAUSE", 1500, "ALL")
    began = time.monotonic()
    pusher.offer([sink], frame("gate", 1), 0.0, within_s=0.05)
    assert pusher._busy
    assert time.monotonic() - began < 1.4
    pusher.offer([sink], frame("gate", 2), 0.0, within_s=0.05)
    pusher.offer([sink], frame("gate", 3), 0.0, within_s=0.05)  # replaces the one before

    wait_for(lambda: site.waiting() == 2, 20, "the frames that waited for the answer")
    assert [each.frame.seq for each in site.consumer.pop(8, 0).frames] == [1, 3]
    assert sink._dropped == 1


def test_a_frame_that_the_socket_does_not_take_at_once_is_sent_whole() -> None:
    with EmbeddedValkey() as valkey:
        site = Site(valkey)
        pusher, sink = site.sink("gate")
        pusher.offer([sink], frame("gate", 0), 0.0)
        pusher.connection._connection._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        large = Frame("gate", "", tiny_jpeg() + bytes(3 << 20), 1)
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGSTOP)
        try:
            pusher.offer([sink], large, 0.0, within_s=0.05)
            assert pusher._busy
        finally:
            os.kill(valkey.pid, signal.SIGCONT)
        wait_for(lambda: site.waiting() == 2, 20, "the large frame")
        assert [len(each.frame.data) for each in site.consumer.pop(8, 0).frames] == [len(tiny_jpeg()), len(large.data)]
        site.close()


def test_an_answer_that_never_comes_counts_as_a_drop() -> None:
    with EmbeddedValkey() as valkey:
        site = Site(valkey)
        pusher, sink = site.sink("gate")
        pusher.offer([sink], frame("gate", 0), 0.0)
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGSTOP)
        pusher.offer([sink], frame("gate", 1), 0.0, within_s=0.05)
        valkey.stop()
        wait_for(lambda: sink._dropped == 1, 20, "the drop")
        assert not sink.state.open
        site.close()
