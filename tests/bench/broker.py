"""The broker's CPU time for each result, from 16 to 1,000 streams: one server, and a cluster of three nodes.

`python -m tests.bench --only broker` runs it. Pods without inference publish results of 16 kB through the product's own
client; one reader has subscribed to all images (`PUBLISH`, on a cluster `SPUBLISH`), and an event worker reads all
results. There is a pod for each hundred results a second.

Two series: streams of 2 fps, so that the load grows with them; and the same load from few or many streams. What the
broker takes without any result is measured too: the event worker asks it several times a second.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Self

import redis

from elastic_inference.adapters.redis_connection import connect
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.bench.broker_load import TYPE, target_of
from tests.bench.record import Context, Figure, cpu_s, median_figure, ratios
from tests.support.event_workers import WorkerProcess
from tests.support.redis_servers import cluster
from tests.support.waiting import wait_for

PART = "broker"
COUNTS = (16, 128, 1000)
FPS = 2.0
STEADY = 500.0
POD_RATE = 100.0
# Pods that share a process of the benchmark.
_TOGETHER = 5
_SETTLES_S = 2.0
# By then nearly every pod has had a frame of every stream: a pod asks about a new one in a round trip of its own.
_MEETINGS = 3
_ROUNDS = 2
WITHIN = 0.15


@dataclass(frozen=True, slots=True)
class Case:
    """One load."""

    streams: int
    fps: float

    @property
    def rate(self) -> float:
        """Results a second."""
        return self.streams * self.fps


@dataclass(frozen=True, slots=True)
class Cost:
    """What the servers used in `took_s`."""

    cpu_s: float
    cycles: int
    commands: int
    results: int
    images: int
    took_s: float

    @property
    def cpu_us(self) -> float:
        """CPU time for each result."""
        return 1e6 * self.cpu_s / self.results

    def beyond_us(self, idle: Cost) -> float:
        """CPU time for each result, without what the servers use when there are none."""
        return 1e6 * (self.cpu_s - idle.cpu_s * self.took_s / idle.took_s) / self.results


IDLE = Case(COUNTS[-1], 0.0)


def figures(context: Context) -> Iterator[Figure]:
    """CPU time for each result, and over that of the fewest streams."""
    growing = [Case(count, FPS) for count in COUNTS]
    steady = [Case(count, STEADY / count) for count in (COUNTS[0], COUNTS[-1])]
    for size in (1, 3):
        found: dict[Case, list[Cost]] = {each: [] for each in (IDLE, *growing, *steady)}
        with _servers(size) as servers:
            for turn in range(_ROUNDS):
                for case in list(found)[:: -1 if turn % 2 else 1]:
                    found[case].append(_cost(servers, case, context.seconds(5.0)))
        where = "one server" if size == 1 else f"cluster of {size}"
        idle = [1000 * each.cpu_s / each.took_s for each in found[IDLE]]
        yield median_figure(PART, f"{where}, no results: CPU a second", idle, unit="ms")
        yield from _figures(f"{where}, {FPS:g} fps each", growing, found)
        yield from _figures(f"{where}, {STEADY:g} results a second", steady, found)


def _figures(name: str, cases: Sequence[Case], found: dict[Case, list[Cost]]) -> Iterator[Figure]:
    for case in cases:
        costs = found[case]
        details = {
            "results_a_second": round(median(each.results / each.took_s for each in costs), 1),
            "images_a_result": round(median(each.images / each.results for each in costs), 3),
        }
        values = [each.cpu_us for each in costs]
        yield median_figure(PART, f"{name}, {case.streams} streams: CPU a result", values, unit="us", details=details)
        cycles = [each.cycles / each.results for each in costs]
        commands = [each.commands / each.results for each in costs]
        yield median_figure(PART, f"{name}, {case.streams} streams: wake-ups a result", cycles)
        yield median_figure(PART, f"{name}, {case.streams} streams: commands a result", commands)
    few, many = (found[each] for each in (cases[0], cases[-1]))
    what = f"{name}, {cases[-1].streams} over {cases[0].streams} streams: CPU a result"
    over = ratios([each.cpu_us for each in many], [each.cpu_us for each in few])
    yield median_figure(PART, what, over, maximum=1 + WITHIN)
    beyond = [[each.beyond_us(idle) for each, idle in zip(costs, found[IDLE], strict=True)] for costs in (many, few)]
    yield median_figure(PART, f"{what} beyond that without results", ratios(*beyond))


class _Servers:
    """The servers of the broker."""

    def __init__(self, servers: Sequence[EmbeddedValkey], url: str) -> None:
        self.servers = servers
        self.url = url

    def cpu_s(self) -> float:
        """Of all servers together."""
        return sum(cpu_s(each.pid) for each in self.servers if each.pid is not None)

    def told(self, name: str) -> int:
        """The sum of a number of `INFO stats`."""
        total = 0
        for each in self.servers:
            with redis.Redis(port=each.port) as client:
                info: Any = client.info("stats")
                total += int(info[name])
        return total

    def results(self) -> int:
        """How many results have been written so far."""
        with connect(target_of(self.url), key=keys.results(TYPE)) as client:
            found: Any = client.xinfo_stream(keys.results(TYPE)) if client.exists(keys.results(TYPE)) else {}
            return int(found.get("entries-added", 0))


@contextmanager
def _servers(size: int) -> Iterator[_Servers]:
    if size == 1:
        with EmbeddedValkey() as server:
            yield _Servers([server], server.url)
    else:
        with cluster(size) as servers:
            yield _Servers(servers, "redis+cluster://" + ",".join(f"127.0.0.1:{each.port}" for each in servers))


class _Process:
    """One of `broker_load`."""

    def __init__(self, *words: object) -> None:
        command = [sys.executable, "-m", "tests.bench.broker_load", *map(str, words)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def images(self) -> int:
        """How many images the reader has seen."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _cost(servers: _Servers, case: Case, seconds: float) -> Cost:
    count = math.ceil(case.rate / POD_RATE)
    url, streams = servers.url, case.streams
    with ExitStack() as stack:
        worker = {"QUEUE_URL": url, "EI_TEST_REAL": "1", "LOG_LEVEL": "WARNING"}
        stack.enter_context(WorkerProcess(servers.servers[0].port, **worker))
        viewers = stack.enter_context(_Process("viewers", url, streams))
        with connect(target_of(url), key=keys.EVENTS_ON) as client:
            wait_for(lambda: client.exists(keys.EVENTS_ON), 60, "the event worker")
        for first in range(0, count, _TOGETHER):
            some = min(_TOGETHER, count - first)
            stack.enter_context(_Process("pods", url, streams, case.fps, count, first, some))
        wait_for(lambda: viewers.images() >= 2 * case.rate, 60, "images")
        time.sleep(max(_SETTLES_S, _MEETINGS * count / case.fps if case.fps else 0.0))
        before = _now(servers, viewers)
        time.sleep(seconds)
        after = _now(servers, viewers)
    cpu, cycles, commands, results, images, took = (now - then for now, then in zip(after, before, strict=True))
    return Cost(cpu, int(cycles), int(commands), int(results), int(images), took)


def _now(servers: _Servers, viewers: _Process) -> tuple[float, ...]:
    told = servers.told("eventloop_cycles"), servers.told("total_commands_processed")
    return servers.cpu_s(), *told, servers.results(), viewers.images(), time.monotonic()
