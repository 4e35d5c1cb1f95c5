"""What is pushed and popped of leased streams, while source workers come and go: for an exact account.

What entered the queue is taken from MONITOR, which shows how the push script moves each stream's fence: the counters of
a worker end with it.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import redis

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base import config
from tests.support.waiting import wait_for

# One frame of a leased stream that enters its queue: time, type, name, epoch, seq.
FENCE = re.compile(rb'^\+(\d+\.\d+) .* lua\] "SET" "\{queue_([\w.-]+)\}:epoch:([^"]+)" "(\d+) (\d+)"')


class Push(NamedTuple):
    """One frame that entered a queue. `at` is the clock's time."""

    at: float
    epoch: int
    seq: int


class Pop(NamedTuple):
    """One frame that a pod got. `at` is the clock's time."""

    at: float
    seq: int
    order: int


class Switch(NamedTuple):
    """Where another lease went on with a stream: the last frame of the former one and its own first."""

    before: Push
    after: Push

    @property
    def gap_s(self) -> float:
        """Time without frames."""
        return self.after.at - self.before.at


class PoolTraffic:
    """Pops all frames of some types as a pod does, until the `with` block ends."""

    def __init__(self, port: int, *types: str, host: str = "127.0.0.1", login: tuple[str, str] | None = None) -> None:
        """`login`: user and password of a Redis that asks for them."""
        self._address = host, port
        self._login = login
        self._types = types
        self._ends = threading.Event()
        self._threads: list[threading.Thread] = []
        self._monitor = socket.create_connection(self._address)
        self._consumers: list[QueueConsumer] = []
        self.pushed: dict[tuple[str, str], list[Push]] = {}
        self.popped: dict[tuple[str, str], list[Pop]] = {}
        self.dropped: Counter[str] = Counter()
        self.invalid = 0

    def __enter__(self) -> PoolTraffic:
        auth = f"AUTH {' '.join(self._login)}\r\n" if self._login else ""
        self._monitor.sendall(f"{auth}MONITOR\r\n".encode())
        self._start(self._watch)
        for kind in self._types:
            consumer = QueueConsumer(self.client(), kind, "pod", config.QueueRules())
            consumer.load_scripts()
            self._consumers.append(consumer)
            self._start(lambda kind=kind, consumer=consumer: self._take(kind, consumer))
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        with contextlib.suppress(OSError):
            self._monitor.shutdown(socket.SHUT_RDWR)
        for each in self._threads:
            each.join(10)
        self._monitor.close()
        for consumer in self._consumers:
            consumer.close()

    def of(self, name: str, kind: str) -> list[Push]:
        """All frames of a stream so far."""
        return self.pushed.get((name, kind), [])

    def wait_more(self, name: str, kind: str, count: int, timeout_s: float = 60) -> list[Push]:
        """Waits for this many further frames of a stream."""
        before = len(self.of(name, kind))
        what = f"{count} more frames of {name}, {kind}"
        wait_for(lambda: len(self.of(name, kind)) >= before + count, timeout_s, what)
        return self.of(name, kind)[before:]

    def switches(self, name: str, kind: str) -> list[Switch]:
        """All hand-overs and takeovers of a stream so far."""
        pairs = itertools.pairwise(list(self.of(name, kind)))
        return [Switch(before, after) for before, after in pairs if before.epoch != after.epoch]

    def last_switches(self, names: Sequence[str], kind: str, since: float) -> dict[str, Switch]:
        """Of each stream that another lease has gone on with since then, where it did so last."""
        found = {name: self.switches(name, kind) for name in names}
        return {name: each[-1] for name, each in found.items() if each and each[-1].after.at > since}

    def longest_gap(self, name: str, kind: str, since: float) -> float:
        """The longest time between two frames of a stream since then, in seconds."""
        times = [each.at for each in list(self.of(name, kind)) if each.at > since - 1]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)

    def check_switches(self, what: str, switches: Mapping[str, Switch], kind: str, since: float) -> tuple[float, float]:
        """The numbers of streams that went over continue. Says and returns the longest gap of a switch, and of any."""
        assert switches
        gap_s = max(each.gap_s for each in switches.values())
        longest_s = max(self.longest_gap(name, kind, since) for name in switches)
        print(f"{what}: {len(switches)} cameras went over, gap {gap_s:.2f} s; longest gap of any {longest_s:.2f} s")
        for name, each in switches.items():
            assert each.after.seq == each.before.seq + 1, f"{name}: its numbers go on"
        return gap_s, longest_s

    def check_epochs(self, kind: str) -> None:
        """No frame of a lease that had ended entered the queue."""
        for (name, pushed_kind), pushed in self.pushed.items():
            epochs = [each.epoch for each in pushed if pushed_kind == kind]
            assert epochs == sorted(epochs), f"{name}: frames of a lease that had ended"

    def settle(self) -> int:
        """Waits until nothing is left in the queues; returns how many frames were dropped there or invalid."""

        def counted() -> int:
            return sum(map(len, self.popped.values())) + self.dropped.total() + self.invalid

        with contextlib.suppress(AssertionError):
            wait_for(lambda: counted() == sum(map(len, self.pushed.values())), 20, "the account")
        return self.dropped.total() + self.invalid

    def client(self) -> redis.Redis:
        """A client that waits for long: a lost answer would miss in the account."""
        user, password = self._login or (None, None)
        return redis.Redis(*self._address, username=user, password=password, socket_timeout=60)

    def _start(self, run: object) -> None:
        thread = threading.Thread(target=run, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)

    def _watch(self) -> None:
        with contextlib.suppress(OSError), self._monitor.makefile("rb") as lines:
            for line in lines:
                if match := FENCE.match(line[:400]):
                    at, kind, name, epoch, seq = match.groups()
                    found = self.pushed.setdefault((name.decode(), kind.decode()), [])
                    # A new lease that asks for its first number moves the fence without a frame.
                    if not found or found[-1].seq != int(seq):
                        found.append(Push(float(at), int(epoch), int(seq)))

    def _take(self, kind: str, consumer: QueueConsumer) -> None:
        while not self._ends.is_set():
            batch = consumer.pop(64, 0.2)
            now = time.time()
            for each in batch.frames:
                self.popped.setdefault((each.frame.name, kind), []).append(Pop(now, each.frame.seq or 0, each.order))
            self.dropped.update(batch.dropped)
            self.invalid += len(batch.invalid)


def check_account(traffic: PoolTraffic) -> None:
    """With all workers ended: each frame that was pushed is popped once, in order, or counted as dropped."""
    taken = traffic.settle()
    missing = 0
    for stream, pushed in traffic.pushed.items():
        popped = traffic.popped.get(stream, [])
        numbers = [each.seq for each in popped]
        assert all(after > before for before, after in itertools.pairwise(numbers)), f"{stream}: {numbers}"
        orders = [each.order for each in popped]
        assert orders == list(range(orders[0], orders[0] + len(orders))), f"{stream}: {orders}"
        assert set(numbers) <= {each.seq for each in pushed}, stream
        missing += len(pushed) - len(popped)
    counted = f"{missing} were not popped; dropped {traffic.dropped}, invalid {traffic.invalid}"
    assert missing == taken, f"pushed = popped + dropped + invalid: {counted}"
