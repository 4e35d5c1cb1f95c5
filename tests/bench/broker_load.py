"""The processes of the broker's benchmark: pods without inference, and a reader of all images.

    python -m tests.bench.broker_load pods URL STREAMS FPS PODS FIRST COUNT
    python -m tests.bench.broker_load viewers URL STREAMS

The first one is `COUNT` of `PODS` pods, from number `FIRST` on, each with a connection of its own. Each frame goes to
one of all pods, as from the queue. The second one answers each line of its input with the number of images so far.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from elastic_inference.adapters.redis_connection import connect, connect_async, is_cluster
from elastic_inference.adapters.redis_spread_async import AsyncSpreadClient
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base.config import RedisTarget, Secret
from elastic_inference.domain import keys
from elastic_inference.domain.result import Result
from elastic_inference.flows.relay.broker_feed import BrokerFeed
from elastic_inference.flows.relay.sharded_feed import ShardedFeed
from tests.support.results import make_result

TYPE = "people"
# About what one frame takes at the size that pods of 320x240 get.
IMAGE = bytes(16_000)
_STEP_S = 0.002
_REPORT_S = 1.0


def target_of(url: str) -> RedisTarget:
    """For the connections of the product."""
    return RedisTarget(url=Secret(url))


def stream(number: int, streams: int) -> str:
    """The id of a stream, one of `streams`."""
    return keys.stream_id(f"cam-{number}-of-{streams}", TYPE)


def pods(url: str, streams: int, fps: float, total: int, mine: range) -> None:
    """Publishes until it is ended. A pod sends what is due as one batch, so slow answers make batches larger."""
    publishers = [ResultPublisher(connect(target_of(url), name=f"pod-{n}"), TYPE, f"pod-{n}", 1000) for n in mine]
    rate, reported_at = streams * fps, float("-inf")
    # By the clock, so that all processes count alike, and a stream's order goes on in a later round.
    done = int(time.time() * rate)
    while True:
        due = int(time.time() * rate)
        batches: list[list[tuple[Result, bytes]]] = [[] for _ in publishers]
        for number in range(done, due):
            pod = _pod_of(number, total)
            if pod in mine:
                order = number // streams + 1
                made = make_result(stream=stream(number % streams, streams), order=order, seq=order, ts=float(order))
                batches[mine.index(pod)].append((made, IMAGE))
        done = due
        for publisher, batch in zip(publishers, batches, strict=True):
            publisher.publish(batch)
        if time.monotonic() - reported_at >= _REPORT_S:
            reported_at = time.monotonic()
            for publisher in publishers:
                publisher.report_worker(100.0, 0.0, 0.5, capacity_fps=200.0, device="CPU", model="m", precision="INT8")
        time.sleep(_STEP_S)


def _pod_of(number: int, total: int) -> int:
    """Looks random, but is the same in all processes."""
    return (number * 2_654_435_761 >> 12) % total


class Counter:
    """Counts images."""

    count = 0

    def on_message(self, channel: bytes, message: bytes) -> None:
        """One image."""
        if channel.endswith(b":inferred"):
            self.count += 1

    def on_read(self, *, drained: bool) -> None:
        """Nothing to do."""


def viewers(url: str, streams: int) -> None:
    """Reads the channels of all streams, as one websocket server does."""
    counter = Counter()

    async def read() -> None:
        client = connect_async(target_of(url))
        if is_cluster(target_of(url)):
            assert isinstance(client, AsyncSpreadClient)
            feed: ShardedFeed | BrokerFeed = ShardedFeed(client, counter, lambda _: None)
        else:
            feed = BrokerFeed(client, counter, lambda _: None)
        for number in range(streams):
            feed.subscribe(stream(number, streams))
        await feed.run()

    threading.Thread(target=lambda: asyncio.run(read()), daemon=True).start()
    for _ in sys.stdin:
        print(counter.count, flush=True)


if __name__ == "__main__":
    what, url, *numbers = sys.argv[1:]
    if what == "pods":
        first, count = map(int, numbers[3:])
        pods(url, int(numbers[0]), float(numbers[1]), int(numbers[2]), range(first, first + count))
    else:
        viewers(url, int(numbers[0]))
