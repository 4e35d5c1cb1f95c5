"""The system of the outages: a broker, two event workers, a feeder, the sinks, and what is known of their state."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis
from redis.exceptions import RedisError

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.outages.arrivals import Arrivals, Mark, mark_of
from tests.outages.feeder import PARTITIONS
from tests.outages.sinks import SinkSite
from tests.support.delivery_worker import write_sinks
from tests.support.event_workers import WorkerProcess
from tests.support.ports import free_port
from tests.support.waiting import wait_for

CAUGHT_UP_S = 2.0
PATIENCE_S = 300.0
_EVENT_ID = re.compile(rb'"id":"([^"]+)"')


class Writer(Protocol):
    """Writes results: see `Feeder`."""

    sent: dict[str, int]
    unsure: set[Mark]

    def start(self) -> None:
        """Begins to write."""

    def stop(self) -> None:
        """Ends."""


class Site:
    """Runs within its `with` block. `feeder` makes what writes the results, given the port of the broker's Redis."""

    feeder: Writer

    def __init__(self, folder: Path, sinks: Sequence[SinkSite], feeder: Callable[[int], Writer]) -> None:
        self.sinks = {each.name: each for each in sinks}
        self.server = EmbeddedValkey(port=free_port())
        self.folder = folder
        self.workers: list[WorkerProcess] = []
        # Events that a sink refused for good, or confirmed and then lost itself.
        self.exempt: dict[str, set[Mark]] = {name: set() for name in self.sinks}
        self.emptied: Counter[str] = Counter()
        self.retried: dict[tuple[str, str], int] = {}
        self.lags: dict[str, list[tuple[float, float]]] = {name: [] for name in self.sinks}
        self._make_feeder = feeder
        self._ends = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Site:
        self.server.start()
        self.client = redis.Redis(port=self.server.port, socket_timeout=5)
        self.feeder = self._make_feeder(self.server.port)
        for name, each in list(self.sinks.items()):
            try:
                each.start()
            except pytest.skip.Exception as error:
                print(f"left out: {name}: {error}")
                del self.sinks[name]
        self._file = write_sinks(self.folder / "sinks.yaml", *(each.spec for each in self.sinks.values()))
        self.workers = [self.new_worker() for _ in range(2)]
        wait_for(self._placed, 120, "a place in the outbox for each sink")
        self._watcher.start()
        self.feeder.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.feeder.stop()
        self._ends.set()
        for worker in self.workers:
            worker.__exit__(None, None, None)
        for sink in self.sinks.values():
            sink.close()
        self.client.close()
        self.server.close()

    def new_worker(self) -> WorkerProcess:
        """Another event service."""
        return WorkerProcess(self.server.port, SINKS_FILE=str(self._file), LOG_LEVEL="WARNING")

    def kill(self, index: int) -> None:
        """Kills a worker and starts it again, as a cluster does."""
        self.workers[index].signal(signal.SIGKILL)
        self.workers[index].process.wait()
        self.workers[index] = self.new_worker()

    def freeze(self, index: int, seconds: float) -> None:
        """A worker does nothing for this time."""
        self.workers[index].signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.workers[index].signal(signal.SIGCONT)

    def metric(self, name: str) -> float:
        """The sum over all workers, and over all labels."""
        return sum(each.metric(name) for each in self.workers)

    def wait_caught_up(self, names: Sequence[str]) -> None:
        """Waits until each of these sinks gets what has just happened."""
        sent = dict(self.feeder.sent)
        for name in names:
            arrivals = self.sinks[name].arrivals

            def fresh(arrivals: Arrivals = arrivals) -> bool:
                ages = arrivals.ages_s(time.monotonic() - 1.0)
                return arrivals.reached(sent) and bool(ages) and max(ages) < CAUGHT_UP_S

            wait_for(fresh, PATIENCE_S, f"{name} has caught up")

    def forgive(self, name: str) -> None:
        """A sink has lost what it had: what it has confirmed and its consumer did not get is the sink's own loss."""
        confirmed: set[Mark] = set()
        time.sleep(1)  # what was confirmed before the consumer was back is acknowledged now
        for partition in range(PARTITIONS):
            cursor = self._cursor(partition, name)
            rows: Any = self.client.xrevrange(keys.events(partition), cursor, "-", count=5000)
            for _, fields in rows:
                match = _EVENT_ID.search(fields[b"json"])
                assert match is not None
                confirmed.add(mark_of(match[1].decode()))
        time.sleep(2)  # what is on its way to the consumer arrives
        unseen = confirmed - self.sinks[name].arrivals.marks() - self.exempt[name]
        self.emptied[name] += len(unseen)
        self.exempt[name] |= unseen

    def dead(self, name: str) -> set[Mark]:
        """Dead letters of a sink."""
        rows: Any = self.client.xrange(keys.dead_letters(name))
        return {mark_of(json.loads(fields[b"json"])["id"]) for _, fields in rows}

    def repeats_allowed(self, name: str, ended: int) -> int:
        """What can have been in flight: one batch at each failed attempt, and at each worker that was ended."""
        failed = sum(count for (sink, _), count in self.retried.items() if sink == name)
        return (failed + ended) * self.sinks[name].batch

    def _cursor(self, partition: int, name: str) -> bytes:
        found: Any = self.client.hget(keys.event_sinks(partition), name)
        return found or b"0-0"

    def _placed(self) -> bool:
        return all(
            self.client.hexists(keys.event_sinks(each), name) for each in range(PARTITIONS) for name in self.sinks
        )

    def _watch(self) -> None:
        client = redis.Redis(port=self.server.port, socket_timeout=2, retry=None)
        while not self._ends.wait(0.5):
            with contextlib.suppress(RedisError, OSError):
                rows: Any = client.hgetall(keys.SINK_STATES)
                for name, raw in rows.items():
                    state = json.loads(raw)
                    place = (name.decode(), state["worker"])
                    self.retried[place] = max(self.retried.get(place, 0), state["retried"])
                    self.lags[name.decode()].append((time.monotonic(), state["lag_s"]))
