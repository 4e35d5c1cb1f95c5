"""Writes any values and types into every key that a Redis user may write, then runs each part that reads them.

No part raises. Afterwards a good frame passes, and a stream and a pod that report are listed: nothing is left blocked.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import redis
from hypothesis import strategies as st

from elastic_inference.adapters.frame_queue import Janitor, QueueConsumer, QueueProducer, QueueReader, Sweeper
from elastic_inference.adapters.redis_connection import connect, connect_async
from elastic_inference.adapters.redis_input import MAX_DROPS_A_SECOND
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.adapters.stream_broker.reader_bounds import ReaderBounds
from elastic_inference.adapters.stream_broker.registry import StreamRegistry
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.sequence import Tombstone
from tests.fuzz.outcome import Outcome
from tests.fuzz.with_hypothesis import run_check
from tests.support.jpeg import tiny_jpeg
from tests.support.results import make_result

TYPE, NAME, POD = "people", "gate-1", "pod-1"
STREAM = keys.stream_id(NAME, TYPE)
RULES = config.QueueRules(stream_queue_depth=3, queue_depth=6, token_limit=7)
KEYS = (
    *(keys.legacy_queue(TYPE), keys.tokens(TYPE), keys.waiting(TYPE, NAME), keys.frame(TYPE, NAME, "id")),
    *(keys.taken(TYPE, POD, 0), keys.order(TYPE, NAME), keys.dropped(TYPE), keys.legacy_account(TYPE)),
    *(keys.source(TYPE, NAME), keys.sources(TYPE), keys.janitor_lock(TYPE), keys.STREAMS, keys.WORKERS),
    *(keys.stream_info(STREAM), keys.worker_info(TYPE, POD), keys.watch(STREAM), keys.results(TYPE)),
    *("queue_" + TYPE + "\xff", "{queue_x y}:tokens", "{queue_" + TYPE + "}:waiting:a b", "queue_", "{queue_}:sources"),
)
Command = tuple[Any, ...]


def commands() -> st.SearchStrategy[list[Command]]:
    """Writes of a client that knows the keys."""
    word = st.sampled_from(
        [
            *(
                b"",
                b"gate-1",
                b"a b",
                b"\xff\xfe",
                b"-1",
                b"0",
                b"1",
                b"9" * 30,
                b"1e400",
                b"nan",
                b"inf",
                b"queue_full",
            ),
            *(b"stale", b"removed", b"marks", b"producer", b"state", b"fps", b"width", b"seen_ms", b"v", b"json"),
            *(b"1 1 id", b"1790000000000000 700 id", b"99999999999999999999 1 id", b"id", b"x" * 200, STREAM.encode()),
            # Values that are costly for their length: for patterns that try each position, and as numbers.
            *(b"x" * 65_536, b"1790000000000000 700 " + b"a" * 60_000, b"1 " * 30_000, b"7" * 60_000, b" " * 20_000),
            *(f"{TYPE}:{POD}".encode(), b"\x83\xa4name\xa6gate-1", b"1 2 3 4", b"%s%n", b"a:b:inferred"),
        ]
    )
    key = st.sampled_from(KEYS)
    score = st.sampled_from([0, -1, 1.5, 1e18, 4e12, "inf", "-inf", 1790000000000])
    command = st.one_of(
        st.tuples(st.just("SET"), key, word | st.binary(max_size=40)),
        st.tuples(st.just("RPUSH"), key, word | st.binary(max_size=40)),
        st.tuples(st.just("RPUSH"), key, word, word, word, word),
        st.tuples(st.just("HSET"), key, word, word, word, word),
        st.tuples(st.just("ZADD"), key, score, word, score, word),
        st.tuples(st.just("SADD"), key, word),
        st.tuples(st.just("XADD"), key, st.just("*"), word, word),
        st.tuples(st.just("XGROUP"), st.just("CREATE"), key, word, st.just("0"), st.just("MKSTREAM")),
        st.tuples(st.just("PEXPIRE"), key, st.integers(1, 20)),
        st.tuples(st.just("UNLINK"), key),
        st.tuples(st.just("PUSH"), st.integers(1, 4)),
    )
    return st.lists(command, min_size=1, max_size=10)


class Parts:
    """Every part that reads these keys, connected to one server."""

    def __init__(self, server: EmbeddedValkey) -> None:
        self.target = config.RedisTarget(url=Secret(server.url))
        self.client = redis.Redis(port=server.port)
        self._connections = [connect(self.target) for _ in range(3)]
        self.producer = QueueProducer(self._connections[0], TYPE, NAME, RULES)
        self.consumer = QueueConsumer(self._connections[1], TYPE, POD, RULES)
        # A pod reports once a second: here each publish is two seconds after the last.
        self.publisher = ResultPublisher(
            self._connections[2], TYPE, POD, 10, monotonic=lambda: time.monotonic() + 2 * self._order
        )
        self._order = 0

    def close(self) -> None:
        for each in (self.producer, self.consumer, self.publisher, self.client, *self._connections):
            each.close()

    def write(self, command: Command) -> None:
        """One write. A key of another type refuses it: then the value replaces the key."""
        if command[0] == "PUSH":
            self.producer.push_batch([self.frame() for _ in range(command[1])])
            return
        try:
            self.client.execute_command(*command)
        except redis.ResponseError:
            self.client.unlink(command[1])

    def frame(self) -> Frame:
        self._order += 1
        return Frame(NAME, TYPE, tiny_jpeg(), self._order, 1.0, 0.0, 64, 48)

    def publish(self) -> None:
        self._order += 1
        result = make_result(stream=STREAM, type=TYPE, order=self._order)
        self.publisher.publish([(result, tiny_jpeg())], [Tombstone(STREAM, self._order + 1, "stale")])
        self.publisher.report_worker(1.0, 0.0, 1.0, capacity_fps=20.0, device="CPU", model="m", precision="FP32")

    async def read_all(self) -> tuple[list[str], list[str]]:
        """What gateway, relay and housekeeping do; returns the streams and the pods."""
        reader = QueueReader(self.target)
        broker = connect_async(self.target)
        try:
            janitor, sweeper = Janitor(reader.clients, RULES, "replica"), Sweeper(reader.clients, RULES)
            types = await reader.types()
            found = await sweeper.sweep(types)
            for each in {*types, TYPE}:
                await reader.clients.of(each).unlink(keys.janitor_lock(each))
                assert await janitor.run(each, found=found.get(each, []), unserved=True)
                assert 0 <= await reader.unserved_drop_fps(each) <= MAX_DROPS_A_SECOND
                assert await reader.length(each) >= 0
                await reader.sources(each)
            bounds = ReaderBounds(self.target, "fuzz")
            await bounds.look()
            await bounds.close()
            registry = StreamRegistry(broker)
            await registry.watch([STREAM])
            await registry.exists(STREAM)
            await registry.shorten_watches()
            return [each.id for each in await registry.streams()], [each.pod for each in await registry.workers()]
        finally:
            await broker.aclose()
            await reader.close()


def check(parts: Parts, written: list[Command], runner: asyncio.Runner) -> None:
    """Writes, lets each part read, and checks whether everything works again."""
    parts.client.flushdb()
    parts.producer.push(parts.frame())
    for command in written:
        parts.write(command)
    order = random.Random(len(repr(written))).sample(range(4), 4)
    for turn in order:
        if turn == 0:
            parts.consumer.pop(8, 0)
        elif turn == 1:
            runner.run(parts.read_all())
        elif turn == 2:
            parts.publish()
        else:
            parts.producer.report_source("live", 15.0, 0, 0)
    for _ in range(3):
        parts.consumer.pop(8, 0)
        parts.publish()
        streams, pods = runner.run(parts.read_all())
    assert (streams.count(STREAM), pods.count(POD)) == (1, 1)
    last = parts.frame()
    parts.producer.push(last)
    popped = [each.frame.seq for _ in range(4) for each in parts.consumer.pop(8, 0).frames]
    assert last.seq in popped, popped


def run_hostile_keys(examples: int, number: int) -> Outcome:
    """`examples` histories of writes."""
    with EmbeddedValkey() as server, asyncio.Runner() as runner:
        parts = Parts(server)
        parts.consumer.load_scripts()
        try:
            return run_check("keys of Redis", commands(), lambda each: check(parts, each, runner), examples, number)
        finally:
            parts.close()
