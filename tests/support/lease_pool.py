"""Workers that lease items and push their frames, on a real Valkey, through one fault after another.

Time is real and leases are short. What a worker may do is decided as in the source worker: by its last round, and by
its own monotonic clock. Frames carry the epoch of their lease as `ts`.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import redis

from elastic_inference.adapters.frame_queue import PushLease, PushOutcome, QueueConsumer, QueueProducer
from elastic_inference.adapters.leases import Holding, LeaseClient, Round
from elastic_inference.adapters.redis_errors import REDIS_ERRORS
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.frame import Frame
from tests.support.failing_redis import FailingRedis
from tests.support.jpeg import tiny_jpeg

GROUP, TYPE = "cameras", "people"
LEASE_S = 0.4
# An item's worker has died: its lease ends, and others that may have died too are no longer counted on.
BOUND_S = 1.7 * LEASE_S
MAX_ROUNDS = 3
ITEMS = tuple(f"cam-{number}" for number in range(8))
COST = 0.2
# A worker has room for all items, even where each counts four times what it costs.
CAPACITY = 7.0
RULES = config.QueueRules(stream_queue_depth=200)
JPEG = tiny_jpeg()


@dataclass(slots=True)
class Running:
    """An item that a worker runs."""

    lease: PushLease
    producer: QueueProducer
    until: float
    number: int = 0
    pushed_epoch: int = 0


@dataclass(slots=True)
class Clock:
    """A worker's own monotonic clock. It starts anywhere, and jumps where a machine has been suspended."""

    shift: float

    def __call__(self) -> float:
        return time.monotonic() + self.shift


@dataclass(slots=True)
class Worker:
    """One process. While `frozen` it does nothing; while `cut_off` its rounds get no answer."""

    name: str
    client: LeaseClient
    link: PipelineConnection
    clock: Clock
    running: dict[str, Running] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    frozen: bool = False
    cut_off: bool = False
    draining: bool = False
    wild: tuple[str, float] = ("", 0.0)  # an item, and the cost that it reports for it until it is mended
    said_draining: bool = False  # in its last round
    renewed: float = 0.0

    @property
    def lively(self) -> bool:
        """Whether it keeps what it holds, and takes what is free."""
        return not (self.frozen or self.cut_off or self.draining)

    @property
    def roomy(self) -> bool:
        """Whether it takes what is free. An item that fills it, as it measures, leaves room for no other."""
        return self.lively and self.wild[1] < CAPACITY


class Pool:
    """Steps of a pool; `check` fails where frames of two leases are mixed or an item moves without cause."""

    def __init__(self, port: int, seed: int, server: FailingRedis | None = None) -> None:
        """`server` is what listens at `port`, for `lose` and `fail_over`."""
        self.random = random.Random(seed)  # noqa: S311  the same faults for the same seed
        # How many rounds there are depends on time.
        self.order = random.Random(seed)  # noqa: S311
        self.port = port
        self.server = server
        self.redis = redis.Redis(port=port)
        self.workers: list[Worker] = []
        self.consumer = QueueConsumer(redis.Redis(port=port, retry=None), TYPE, "pod-1", RULES)
        self.made = 0
        self.newest: dict[str, tuple[int, int]] = {}
        self.owners: dict[str, str] = {}
        self.moves: Counter[str] = Counter()
        # Items without a worker: since when, and how many rounds have passed that should have placed them.
        self.alone: dict[str, tuple[float, int]] = {}
        self.passed = self.emptied = 0.0
        self.longest = 0
        self.fenced = self.pushed = 0
        self.fill()
        for _ in range(3):
            self.join()

    def fill(self) -> None:
        """The owner writes what is wanted."""
        known = self.random.choice(("", "+"))
        self.redis.hset(keys.wanted(GROUP), mapping={":known": "1"} | dict.fromkeys(ITEMS, f"1 {known}{COST}"))

    def join(self) -> None:
        self.made += 1
        name = f"w{self.made}"
        clock = Clock(self.random.uniform(-1000, 1000))
        links = [redis.Redis(port=self.port, retry=None) for _ in range(2)]
        client = LeaseClient(links[0], GROUP, name, LEASE_S, clock)
        self.workers.append(Worker(name, client, PipelineConnection(links[1]), clock))

    def shift_clock(self) -> None:
        """Forward, leases end early by it; backward, it believes in them for longer than they last."""
        self.random.choice(self.workers).clock.shift += self.random.uniform(-3, 3) * LEASE_S

    def kill(self) -> None:
        self.alone.clear()
        if len(self.workers) > 1:
            worker = self.workers.pop(self.random.randrange(len(self.workers)))
            worker.client.close()
            worker.link.close()

    def freeze(self) -> None:
        self.alone.clear()
        self.random.choice(self.workers).frozen = True

    def wake(self) -> None:
        """What was frozen pushes what it had in hand, before it looks at any clock."""
        for worker in self.workers:
            if worker.frozen:
                worker.frozen = False
                self.push(worker, late=True)

    def cut_off(self) -> None:
        self.alone.clear()
        self.random.choice(self.workers).cut_off = True

    def mend(self) -> None:
        for worker in self.workers:
            worker.cut_off, worker.wild = False, ("", 0.0)

    def go_wild(self) -> None:
        """A worker measures nonsense for one of its items."""
        worker = self.random.choice(self.workers)
        worker.wild = self.random.choice(ITEMS), self.random.choice((1e-9, 0.0, 900.0))

    def drain(self) -> None:
        self.alone.clear()
        if sum(not worker.draining for worker in self.workers) > 1:
            self.random.choice(self.workers).draining = True

    def empty(self) -> None:
        """Redis restarts empty; the owner fills it again after a while."""
        self.redis.flushall()
        self.emptied = time.monotonic()
        # The numbers of frames are lost too, and when an item moved last.
        self.newest = {name: (epoch, -1) for name, (epoch, _) in self.newest.items()}
        self.moves.clear()
        for _ in range(self.random.randrange(3)):
            self.rounds()
        self.fill()
        self.alone.clear()

    def lose(self) -> None:
        """Nobody reaches Redis, for up to two leases."""
        assert self.server is not None
        self.server.lose()
        ends = time.monotonic() + self.random.uniform(0.2, 2) * LEASE_S
        while time.monotonic() < ends:
            self.rounds()
            time.sleep(LEASE_S / 10)
        self.server.restore()
        self.alone.clear()

    def fail_over(self) -> None:
        """A replica takes over that lacks what the last rounds have written."""
        assert self.server is not None
        self.server.add_replica()
        while not self.server.replicates:
            self.rounds()
        self.server.part()
        for _ in range(self.random.randrange(3)):
            self.rounds()
        self.server.fail_over()
        self.emptied = time.monotonic()
        # Frames and numbers that were taken from the former server may come again. What is pushed from now on counts.
        self.take()
        self.newest.clear()
        self.moves.clear()
        self.alone.clear()

    def forge(self) -> None:
        """Somebody gives an item to a worker that does not exist."""
        name, now_us = self.random.choice(ITEMS), time.time_ns() // 1000
        former, left = self.random.choice((("-", 0), (self.holder(name), now_us)))
        self.redis.hset(keys.lease_workers(GROUP), "ghost:ab", f"{now_us} 1024 0 0 60000000 0 0")
        row = f"{self.newest.get(name, (now_us, 0))[0] + 1} ghost:ab {COST} 0 0 {former} {left}"
        self.redis.hset(keys.leases(GROUP), name, row)
        # The row no longer says that it has moved.
        self.owners.pop(name, None)
        self.moves.pop(name, None)

    def holder(self, name: str) -> str:
        """The id of the worker that has the item, or '-'."""
        row = self.redis.hget(keys.leases(GROUP), name)
        return row.split()[1].decode() if row else "-"  # type: ignore[union-attr]

    def pause(self) -> None:
        """Nobody calls for longer than a lease."""
        time.sleep(LEASE_S * 1.1)

    def wait(self) -> None:
        """Only time passes."""
        ends = time.monotonic() + 2 * BOUND_S
        while time.monotonic() < ends:
            self.rounds()
            time.sleep(LEASE_S / 10)

    def rounds(self) -> None:
        """Each worker has one round and pushes, in any order."""
        if time.monotonic() - self.passed > 0.5 * LEASE_S:
            # No worker has called for a long time: each one, even a dead one, gets another lease.
            self.alone.clear()
        for worker in self.order.sample(self.workers, len(self.workers)):
            if not worker.frozen:
                self.round(worker)
                self.push(worker)
        if self.server is None or self.server.reachable:
            self.check()
            self.check_bound()
        self.passed = time.monotonic()

    def round(self, worker: Worker) -> None:
        now = time.monotonic()
        found = None if worker.cut_off else self.renew(worker)
        if found is None:
            worker.running = {name: each for name, each in worker.running.items() if worker.clock() < each.until}
            return
        worker.said_draining = worker.draining
        assert all(each.cost <= 4 * COST + 1e-6 for each in found.unassigned.values()), found.unassigned
        for name, claim in found.held.items():
            each = worker.running.get(name)
            if each is None:
                lease = PushLease(claim.epoch)
                each = Running(lease, QueueProducer(worker.link, TYPE, name, RULES, lease), 0.0)
                worker.running[name] = each
            each.lease.epoch, each.until = claim.epoch, claim.until_monotonic
        for name, until in found.leaving.items():
            if name in worker.running:
                worker.running[name].until = until
        kept = found.held.keys() | found.leaving.keys()
        worker.running = {name: each for name, each in worker.running.items() if name in kept}
        worker.held = set(found.held)
        for name in worker.held:
            self.note(name, worker, now)
        worker.renewed = now

    def renew(self, worker: Worker) -> Round | None:
        """A worker's call, None if Redis does not answer."""
        said = {name: Holding(each.lease.epoch, COST, each.lease.fenced_by) for name, each in worker.running.items()}
        name, cost = worker.wild
        if name in said:
            said[name] = replace(said[name], cost=cost)
        with self.lost():
            return worker.client.renew(said, CAPACITY, draining=worker.draining)
        return None

    def lost(self) -> contextlib.AbstractContextManager[None]:
        """Redis need not answer where it may be lost; the next call connects again."""
        return contextlib.nullcontext() if self.server is None else contextlib.suppress(*REDIS_ERRORS)

    def note(self, name: str, worker: Worker, now: float) -> None:
        before = next((each for each in self.workers if each.name == self.owners.get(name)), None)
        lively = before is not None and before.lively and not before.said_draining
        if before is not None and before is not worker and lively and now - before.renewed < 0.5 * LEASE_S:
            self.moves[name] += now - self.emptied > 2 * LEASE_S
        self.owners[name] = worker.name

    def push(self, worker: Worker, *, late: bool = False) -> None:
        for name, each in list(worker.running.items()):
            # Where it has pushed nothing under this epoch, a fence that Redis has lost since does not stop it.
            new = each.pushed_epoch != each.lease.epoch and worker.renewed < self.emptied
            if (new or not late) and worker.clock() >= each.until:
                continue
            each.number += 1
            outcome = PushOutcome(False)
            with self.lost():
                outcome = each.producer.push(Frame(name, TYPE, JPEG, each.number, float(each.lease.epoch)))
            self.pushed += outcome.pushed
            each.pushed_epoch = each.lease.epoch if outcome.pushed else each.pushed_epoch
            self.fenced += outcome.dropped.get(DropReason.FENCED, 0)
            if outcome.dropped and name not in worker.held:
                del worker.running[name]

    def check(self) -> None:
        """Of each stream, neither epoch nor number ever falls."""
        for frame in self.take():
            assert frame.ts is not None
            assert frame.seq is not None
            epoch, seq = self.newest.get(frame.name, (0, -1))
            assert int(frame.ts) >= epoch, f"{frame.name}: a frame of epoch {frame.ts:.0f} after one of {epoch}"
            assert frame.seq > seq, f"{frame.name}: number {frame.seq} after {seq}"
            self.newest[frame.name] = int(frame.ts), frame.seq
        assert max(self.moves.values(), default=0) <= 1, f"moved twice within a minute, without cause: {self.moves}"

    def take(self) -> list[Frame]:
        """Pops all frames."""
        taken: list[Frame] = []
        for _ in range(2):  # a connection that Redis has closed fails once
            with self.lost():
                while frames := self.consumer.pop(256, 0).frames:
                    taken += [popped.frame for popped in frames]
                return taken
        return taken

    def check_bound(self) -> None:
        """No item is without a worker for longer than BOUND_S and some rounds while somebody has room."""
        now = time.monotonic()
        holders = (worker for worker in self.workers if not (worker.frozen or worker.cut_off))
        held = {name for worker in holders for name in worker.held}
        known = any(worker.roomy for worker in self.workers) and self.redis.exists(keys.wanted(GROUP))
        alone = {}
        for name in set(ITEMS) - held if known else ():
            since, rounds = self.alone.get(name, (now, 0))
            # Rounds, not seconds: a busy machine stretches both.
            alone[name] = since, rounds + (now - since > BOUND_S)
            assert rounds <= MAX_ROUNDS, f"{name} has had no worker for {now - since:.2f} s"
        self.alone = alone
        self.longest = max([self.longest, *(rounds for _, rounds in alone.values())])

    def settled(self) -> bool:
        """After a round of all: whether each item has one worker, and pushes."""
        before = dict(self.newest)
        self.rounds()
        owners = Counter(name for worker in self.workers for name in worker.held)
        return owners == Counter(ITEMS) and all(self.newest.get(name) != before.get(name) for name in ITEMS)

    def close(self) -> None:
        for worker in self.workers:
            worker.client.close()
            worker.link.close()
        self.consumer.close()
        self.redis.close()
