"""Speed of the frame queue: push and pop of 50 kB frames, compared with pipelined RPUSH and LPOP of ready messages.

The queue's side packs frames into messages and checks them after the pop; the raw side only moves bytes.
`python -m tests.bench --only queue` runs it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from elastic_inference.adapters.frame_queue import QueueConsumer, QueueProducer
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.frame_message import pack_frame
from tests.bench.record import Context, Figure, spread_of

FRAME_BYTES = 50_000
# A JPEG of one grey plane (768x432) up to the start of its scan, without tables: the queue reads no further. It has to
# be complete, since a pod parses the same header once, and any other one with each frame.
JPEG_HEAD = bytes.fromhex("ffd8 ffc0000b0801b00300010111 00 ffda0008010100003f00")
BATCHES = (1, 4, 16)
STREAMS = (1, 16, 256)
TYPE = "bench"
RULES = config.QueueRules(stream_queue_depth=64)


def run(rounds: int = 8, seconds: float = 0.5) -> list[dict[str, Any]]:
    """Records {name, ratio, spread, fps, raw_fps, over_bare_link}: medians of alternating rounds.

    `ratio` is over redis-py's pipelines (`raw_fps`), `spread` its quartile distance, `over_bare_link` over the queue's
    own faster connection with lists.
    """
    keep_freed_memory()
    with EmbeddedValkey() as server:
        target = config.RedisTarget(url=Secret(server.url))
        bench = _Bench(target)
        bench.measure(bench.queue_round(4, 16), 0.3)
        cases = [(f"queue, batch {batch}", batch, 16) for batch in BATCHES]
        cases += [(f"queue, batch 4, {streams} streams", 4, streams) for streams in STREAMS if streams != 16]
        records = [{"name": name, **bench.compare(batch, streams, rounds, seconds)} for name, batch, streams in cases]
        bench.close()
    return records


class _Bench:
    """Both sides on one server, with distinct buffers, so that no cache favours either."""

    def __init__(self, target: config.RedisTarget) -> None:
        self._client = connect(target)
        self._link = PipelineConnection(connect(target))
        self._consumer = QueueConsumer(connect(target), TYPE, "pod", RULES)
        self._consumer.load_scripts()
        self._frames: dict[str, list[Frame]] = {}
        self._producers: list[QueueProducer] = []
        for index in range(max(STREAMS)):
            name = f"cam-{index}"
            self._producers.append(QueueProducer(connect(target), TYPE, name, RULES))
        self._images = [JPEG_HEAD + os.urandom(FRAME_BYTES - len(JPEG_HEAD)) for _ in range(64)]
        self._messages = [pack_frame(Frame("cam-0", TYPE, image)) for image in self._images]

    def queue_round(self, batch: int, streams: int) -> Callable[[int], int]:
        """One batch of one stream in, one batch out."""
        images = self._images

        def step(turn: int) -> int:
            index = turn % streams
            name = f"cam-{index}"
            frames = [Frame(name, TYPE, images[(turn * batch + at) % len(images)], at) for at in range(batch)]
            self._producers[index].push_batch(frames)
            popped = self._consumer.pop(batch, 0)
            if len(popped.frames) != batch:
                raise AssertionError(f"{len(popped.frames)} frames came back, {batch} went in")
            return batch

        return step

    def pipeline_round(self, batch: int) -> Callable[[int], int]:
        """The same number of messages through a list, one redis-py pipeline each way: what a legacy producer does."""
        queue = keys.legacy_queue("raw")
        client = self._client

        def step(turn: int) -> int:
            messages = self._messages
            pushes = client.pipeline(transaction=False)
            for at in range(batch):
                pushes.rpush(queue, messages[(turn * batch + at) % len(messages)])
            pushes.execute()
            pops = client.pipeline(transaction=False)
            for _ in range(batch):
                pops.lpop(queue)
            return len(pops.execute())

        return step

    def raw_round(self, batch: int) -> Callable[[int], int]:
        """The same through the queue's own kind of connection: the cost of the protocol, without work on frames."""
        queue = keys.legacy_queue("raw")
        pops = [("LPOP", queue)] * batch

        def step(turn: int) -> int:
            messages = self._messages
            self._link.exchange(
                [("RPUSH", queue, messages[(turn * batch + at) % len(messages)]) for at in range(batch)]
            )
            return len(self._link.exchange(pops))

        return step

    def measure(self, step: Callable[[int], int], seconds: float) -> float:
        """Frames a second."""
        frames, turn = 0, 0
        begin = time.perf_counter()
        while (spent := time.perf_counter() - begin) < seconds:
            frames += step(turn)
            turn += 1
        return frames / spent

    def compare(self, batch: int, streams: int, rounds: int, seconds: float) -> dict[str, Any]:
        """One line of the table, without its name."""
        ways = (self.queue_round(batch, streams), self.pipeline_round(batch), self.raw_round(batch))
        rows = []
        for number in range(rounds):
            figures = {way: self.measure(ways[way], seconds) for way in ((0, 1, 2) if number % 2 == 0 else (2, 1, 0))}
            rows.append([figures[way] for way in range(3)])
        ratios = [ours / pipeline for ours, pipeline, _ in rows]
        return {
            "ratio": round(statistics.median(ratios), 3),
            "spread": round(spread_of(ratios), 3),
            "rounds": [round(each, 3) for each in ratios],
            "fps": round(statistics.median(row[0] for row in rows)),
            "raw_fps": round(statistics.median(row[1] for row in rows)),
            "over_bare_link": round(statistics.median(ours / link for ours, _, link in rows), 3),
        }

    def close(self) -> None:
        self._consumer.close()
        self._link.close()
        for producer in self._producers:
            producer.close()


def figures(context: Context) -> Iterator[Figure]:
    """The table's lines."""
    bars = {"batch 1": 0.8, "batch 4": 0.8, "batch 16": 0.65}
    records = run(context.rounds(8), context.seconds(0.4))
    for each in records:
        yield Figure(
            "queue",
            f"{each['name'].removeprefix('queue, ')} over raw pipelined RPUSH and LPOP",
            each["ratio"],
            spread=each["spread"],
            minimum=bars.get(each["name"].removeprefix("queue, ")),
            rounds=tuple(each["rounds"]),
            details={name: each[name] for name in ("fps", "raw_fps", "over_bare_link")},
        )
    by_streams = [each["ratio"] for each in records if "batch 4" in each["name"]]
    # Compare ratios: each has its own raw rounds beside it, while the absolute figures are minutes apart.
    yield Figure(
        "queue",
        "1, 16 and 256 streams, the slowest ratio over the fastest",
        round(min(by_streams) / max(by_streams), 3),
        minimum=0.9,
        details={"ratios": by_streams},
    )
