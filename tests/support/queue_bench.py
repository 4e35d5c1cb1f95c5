"""A queue of one type on a real server: both ends, a view inside, and the account that must add up."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgpack
import redis

from elastic_inference.adapters.frame_queue import Janitor, PopBatch, QueueConsumer, QueueProducer, QueueReader
from elastic_inference.adapters.frame_queue.janitor import NAMES_A_RUN
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.frame import Frame
from tests.support.jpeg import tiny_jpeg

TYPE = "people"
# On a busy machine a test is slower than the two seconds of the default; `make_stale` does not wait for them either.
PATIENT = config.QueueRules(max_frame_age_s=60)


class QueueBench:
    """Counts frames pushed and popped."""

    def __init__(self, server: EmbeddedValkey, rules: config.QueueRules | None = None) -> None:
        self.server = server
        self.rules = rules or PATIENT
        self.target = config.RedisTarget(url=Secret(server.url))
        self.redis: redis.Redis = connect(self.target)
        self.pushed = 0
        self.popped = 0
        self.invalid = 0
        self.dropped: Counter[DropReason] = Counter()
        self.orders: dict[str, list[int]] = defaultdict(list)
        self.seqs: dict[str, list[int | None]] = defaultdict(list)
        self._producers: dict[str, QueueProducer] = {}
        self._consumers: dict[str, QueueConsumer] = {}
        self._janitor_starts: dict[str, tuple[int, int]] = {}
        self._next_seq: Counter[str] = Counter()
        self.consumer().load_scripts()

    def producer(self, name: str) -> QueueProducer:
        if name not in self._producers:
            self._producers[name] = QueueProducer(connect(self.target), TYPE, name, self.rules)
        return self._producers[name]

    def consumer(self, pod: str = "pod-1") -> QueueConsumer:
        if pod not in self._consumers:
            self._consumers[pod] = QueueConsumer(connect(self.target), TYPE, pod, self.rules)
        return self._consumers[pod]

    def push(self, name: str, count: int = 1, size: int = 0) -> None:
        """One batch of frames through the push script."""
        frames = []
        for _ in range(count):
            self._next_seq[name] += 1
            frames.append(Frame(name, TYPE, tiny_jpeg(padding=size), self._next_seq[name]))
        outcome = self.producer(name).push_batch(frames)
        assert outcome.pushed, outcome
        self.pushed += count

    def push_legacy(self, name: str, count: int = 1, size: int = 0) -> None:
        """Frames of a legacy producer: the message of three keys."""
        message = msgpack.packb({"name": name, "category": TYPE, "data": tiny_jpeg(padding=size)})
        self.redis.rpush(keys.legacy_queue(TYPE), *[message] * count)
        self.pushed += count

    def push_junk(self, message: bytes = b"junk") -> None:
        """Pushes a message that is not a frame."""
        self.redis.rpush(keys.legacy_queue(TYPE), message)
        self.pushed += 1

    def pop(self, count: int = 16, pod: str = "pod-1", wait_s: float = 0.0) -> PopBatch:
        """One pop, added to the account."""
        batch = self.consumer(pod).pop(count, wait_s)
        assert len(batch.frames) + len(batch.invalid) <= count
        self.popped += len(batch.frames)
        self.invalid += len(batch.invalid)
        self.dropped.update(batch.dropped)
        for frame in batch.frames:
            self.orders[frame.frame.name].append(frame.order)
            self.seqs[frame.frame.name].append(frame.frame.seq)
        return batch

    def drain(self) -> int:
        """Pops until nothing waits; returns the number of frames."""
        before = self.popped
        while (batch := self.pop()).frames or batch.invalid:
            pass
        return self.popped - before

    def drain_sizes(self, count: int) -> list[int]:
        """As `drain`, by pops of at most `count` frames; returns the bytes of each pop."""
        sizes = []
        while batch := self.pop(count).frames:
            sizes.append(sum(len(popped.frame.data) for popped in batch))
        return sizes

    def run_janitor(
        self, names: int = NAMES_A_RUN, *, free_lock: bool = True, found: Sequence[str] = (), unserved: bool = False
    ) -> int:
        """One run, whichever replica holds the lock. Returns how many drops it has claimed, which count."""

        async def run() -> Counter[DropReason]:
            reader = QueueReader(self.target)
            if free_lock:
                self.redis.delete(keys.janitor_lock(TYPE))
            janitor = Janitor(reader.clients, self.rules, "test")
            janitor.starts = self._janitor_starts
            try:
                ran = await janitor.run(TYPE, names, found, unserved=unserved)
                assert ran
                return ran.claimed
            finally:
                await reader.close()

        claimed = asyncio.run(run())
        self.dropped.update(claimed)
        return claimed.total()

    def make_stale(self, name: str, count: int = 1) -> int:
        """Makes the oldest `count` waiting frames of a stream older than MAX_FRAME_AGE_S; returns how many."""
        waiting = keys.waiting(TYPE, name)
        entries: Any = self.redis.lrange(waiting, 0, count - 1)
        age_us = int(self.rules.max_frame_age_s * 1e6) + 1_000_000
        for index, entry in enumerate(entries):
            stamp, rest = entry.split(b" ", 1)
            self.redis.lset(waiting, index, b"%d %s" % (int(stamp) - age_us, rest))
        return len(entries)

    def token_counts(self) -> Counter[str]:
        tokens: Any = self.redis.lrange(keys.tokens(TYPE), 0, -1)
        return Counter(name.decode() for name in tokens)

    def waiting_counts(self) -> Counter[str]:
        prefix = keys.waiting(TYPE, "")
        found: Counter[str] = Counter()
        for key in self.redis.scan_iter(match=prefix.replace("[", "\\[") + "*"):
            found[key.decode().removeprefix(prefix)] = self.redis.llen(key)
        return found

    def frame_keys(self) -> int:
        return sum(1 for _ in self.redis.scan_iter(match=keys.queue_prefix(TYPE) + "frame:*"))

    def unclaimed_drops(self) -> Counter[str]:
        drops: Any = self.redis.hgetall(keys.dropped(TYPE))
        # Housekeeping adds fields of its own, and leaves zeros.
        counts = {reason: int(drops.get(reason.encode(), 0)) for reason in ("queue_full", "stale")}
        return Counter({reason: count for reason, count in counts.items() if count})

    def legacy_waiting(self) -> int:
        return int(self.redis.llen(keys.legacy_queue(TYPE)))

    def check_account(self, lost: int = 0) -> None:
        """pushed = inferred + dropped + invalid + waiting + lost."""
        waiting = sum(self.waiting_counts().values()) + self.legacy_waiting()
        dropped = sum(self.dropped.values()) + sum(self.unclaimed_drops().values())
        parts = {"popped": self.popped, "dropped": dropped, "invalid": self.invalid, "waiting": waiting, "lost": lost}
        assert self.pushed == sum(parts.values()), (self.pushed, parts)

    def check_order(self) -> None:
        """Each stream's numbers rise without a gap, and our producers' frames keep their order."""
        for name, orders in self.orders.items():
            assert orders == list(range(orders[0], orders[0] + len(orders))), (name, orders)
        for name, seqs in self.seqs.items():
            own = [seq for seq in seqs if seq is not None]
            assert own == sorted(set(own)), (name, seqs)

    def close(self) -> None:
        for end in (*self._producers.values(), *self._consumers.values()):
            end.close()
        self.redis.close()

    def __enter__(self) -> QueueBench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
