"""Long values in the queue's keys: whatever the Redis user `camera` writes, each script call is short and small.

Redis itself must also stay small: Lua copies what a script reads, and Redis serves nobody else meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from elastic_inference.adapters.frame_queue import QueueReader
from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.support.queue_bench import TYPE, QueueBench

MB = 1_000_000
PREFIX = keys.queue_prefix(TYPE)
# A quiet machine needs some 10 ms for the longest of these calls. Before, patterns took minutes.
LONGEST_S = 2.0
LONG_ENTRIES = {
    "no space": b"x" * MB,
    "a space at the end": b"x" * MB + b" ",
    "digits": b"7" * MB,
    "an entry's form": b"1 5 " + b"x" * MB,
    "spaces": b" " * MB,
    "digits and spaces": b"1 " * (MB // 2),
}


@pytest.fixture
def own_bench() -> Iterator[QueueBench]:
    """A queue on a server whose memory nobody else uses."""
    with EmbeddedValkey() as server, QueueBench(server) as found:
        yield found


def longest_call_s(bench: QueueBench, action: Callable[[], object]) -> float:
    """The longest script call of `action`, by Redis' own clock."""
    bench.redis.config_set("slowlog-log-slower-than", 1000)
    bench.redis.slowlog_reset()
    action()
    found = bench.redis.slowlog_get(128)
    return max((each["duration"] / 1e6 for each in found if each["command"].startswith(b"EVALSHA")), default=0.0)


def peak_bytes(bench: QueueBench) -> int:
    """The most memory that the server's process has had, Lua's included."""
    text = Path(f"/proc/{bench.server.pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def read_sources(bench: QueueBench) -> list[str]:
    reader = QueueReader(bench.target)
    try:
        return [each.name for each in await reader.sources(TYPE)]
    finally:
        await reader.close()


@pytest.mark.parametrize("entry", LONG_ENTRIES.values(), ids=LONG_ENTRIES)
@pytest.mark.parametrize("part", ["push", "janitor", "pop"])
def test_a_long_entry_takes_no_time(bench: QueueBench, entry: bytes, part: str) -> None:
    bench.redis.rpush(keys.waiting(TYPE, "cam-1"), *[entry] * 5)
    bench.redis.rpush(keys.tokens(TYPE), *["cam-1"] * 5)
    action = {"push": lambda: bench.push("cam-1"), "janitor": bench.run_janitor, "pop": bench.pop}[part]
    assert longest_call_s(bench, action) < LONGEST_S
    for _ in range(5):
        bench.push("cam-1")
    bench.run_janitor()
    assert bench.token_counts() == {"cam-1": 4}
    assert len(bench.pop().frames) == 4


def test_long_entries_are_removed_a_few_at_a_time(own_bench: QueueBench) -> None:
    bench = own_bench
    waiting = keys.waiting(TYPE, "cam-1")
    for _ in range(40):
        bench.redis.rpush(waiting, b"x" * 4 * MB)
    bench.redis.rpush(keys.tokens(TYPE), "cam-1")
    before = peak_bytes(bench)
    assert longest_call_s(bench, lambda: bench.push("cam-1")) < LONGEST_S
    assert bench.redis.llen(waiting) == 40
    assert longest_call_s(bench, bench.pop) < LONGEST_S
    assert bench.redis.llen(waiting) >= 37
    bench.producer("cam-1").report_source("live", 15.0, 0, 0)
    for left in (30, 21, 12, 3, 1):
        assert longest_call_s(bench, bench.run_janitor) < LONGEST_S
        assert bench.redis.llen(waiting) <= left
    assert peak_bytes(bench) - before < 100 * MB
    bench.push("cam-1")
    assert bench.pop().frames


def test_long_tokens_are_removed_whole_and_the_valid_ones_come_back(own_bench: QueueBench) -> None:
    bench = own_bench
    bench.push("cam-1", 4)
    for _ in range(40):
        bench.redis.lpush(keys.tokens(TYPE), b"x" * 4 * MB)
    before = peak_bytes(bench)
    for _ in range(3):
        assert longest_call_s(bench, bench.pop) < LONGEST_S
    assert bench.redis.llen(keys.tokens(TYPE)) > 30, "a pop reads one after another, and not many"
    bench.producer("cam-1").report_source("live", 15.0, 0, 0)
    assert longest_call_s(bench, bench.run_janitor) < LONGEST_S
    assert peak_bytes(bench) - before < 100 * MB
    assert bench.token_counts() == {"cam-1": 4}
    assert bench.drain() == 4
    bench.check_account()


def test_a_full_queue_of_long_tokens_lets_a_push_through(own_bench: QueueBench) -> None:
    bench = own_bench
    bench.redis.rpush(keys.tokens(TYPE), *(f"made-up-{index}" for index in range(bench.rules.token_limit)))
    for _ in range(40):
        bench.redis.lpush(keys.tokens(TYPE), b"x" * 4 * MB)
    before = peak_bytes(bench)
    assert longest_call_s(bench, lambda: bench.push("cam-1")) < LONGEST_S
    assert peak_bytes(bench) - before < 50 * MB
    bench.producer("cam-1").report_source("live", 15.0, 0, 0)
    bench.run_janitor()
    assert bench.drain() == 1


async def test_long_names_of_sources_are_not_read(own_bench: QueueBench) -> None:
    bench = own_bench
    now_ms = int(time.time() * 1000)
    bench.producer("cam-1").report_source("live", 15.0, 0, 0)
    assert await read_sources(bench) == ["cam-1"]
    for index in range(40):
        bench.redis.zadd(keys.sources(TYPE), {b"%d" % index + b"x" * 4 * MB: now_ms})
    before = peak_bytes(bench)
    assert await read_sources(bench) == []
    bench.redis.unlink(keys.janitor_lock(TYPE))
    await asyncio.to_thread(bench.run_janitor)
    assert peak_bytes(bench) - before < 50 * MB
    assert not bench.redis.exists(keys.sources(TYPE))
    bench.producer("cam-1").report_source("live", 15.0, 0, 0)
    assert await read_sources(bench) == ["cam-1"]


def test_the_largest_valid_names_stay(bench: QueueBench) -> None:
    names = [f"{index:04d}" + "n" * 124 for index in range(bench.rules.token_limit)]
    bench.redis.rpush(keys.tokens(TYPE), *names)
    bench.redis.zadd(keys.sources(TYPE), dict.fromkeys(names, time.time() * 1000))
    bench.run_janitor(names=0)
    assert bench.redis.llen(keys.tokens(TYPE)) == len(names)
    assert bench.redis.zcard(keys.sources(TYPE)) == len(names)


@pytest.mark.parametrize("place", ["name", "prefix", "key"])
def test_a_push_repeats_no_long_argument(bench: QueueBench, place: str) -> None:
    long = "x" * MB
    name, prefix = (long if place == "name" else "cam-1"), (long if place == "prefix" else PREFIX)
    waiting = keys.waiting(TYPE, long if place == "key" else "cam-1")
    bench.redis.rpush(waiting, *["1 5 x"] * 1000)
    with pytest.raises(redis.ResponseError, match="too long"):
        bench.redis.evalsha(
            *(script("push").sha, 3, keys.tokens(TYPE), waiting, keys.dropped(TYPE), prefix, name, 4, 4096, "5 y")
        )


MANY = 200_000
NAME = "n" * 128


@pytest.mark.parametrize("name", ["push", "fenced_push", "sweep", "weigh", "order", "janitor"])
def test_very_many_arguments_cost_little(own_bench: QueueBench, name: str) -> None:
    """Before, a push of a million frames halted Redis for 19 s, and took 460 MB."""
    long = PREFIX + "p" * 200
    three = (keys.tokens(TYPE), keys.waiting(TYPE, NAME), keys.dropped(TYPE))
    entries = [f"5 {number}" for number in range(MANY)]
    janitor = (PREFIX, 1, 1, 1, 4096, 1024, 0, 0, 950, "x", 1000)
    arguments = {
        "push": (3, *three, long, NAME, 4, 4096, *entries),
        "fenced_push": (4, *three, f"{PREFIX}epoch:{NAME}", long, NAME, 4, 4096, *entries, 1, 1, 1, 1000, 5),
        "sweep": (0, "LT", 7000, *entries),
        "weigh": (0, *entries),
        "order": (MANY, *entries, 60_000, *[1] * MANY),
        "janitor": (6, *three, *three, *janitor, *(f"a{number}" for number in range(MANY))),
    }[name]
    own_bench.redis.script_load(script(name).text)

    nothing = own_bench.redis.script_load("return 1")

    def call(sha: str) -> float:
        def action() -> None:
            with contextlib.suppress(redis.ResponseError):
                own_bench.redis.evalsha(sha, *arguments)  # type: ignore[arg-type]

        return longest_call_s(own_bench, action)

    # What Redis itself needs to hand over that many arguments.
    handed_over_s = min(call(nothing) for _ in range(3))
    empty = peak_bytes(own_bench)
    assert min(call(script(name).sha) for _ in range(3)) < 3 * handed_over_s + 0.2
    assert peak_bytes(own_bench) - empty < 15 * MB


@pytest.mark.parametrize("entry", ["5 " + "x" * 1000, "x" * 1000])
def test_a_push_of_a_long_id_is_refused(bench: QueueBench, entry: str) -> None:
    own = (keys.tokens(TYPE), keys.waiting(TYPE, "cam-1"), keys.dropped(TYPE))
    with pytest.raises(redis.ResponseError, match="too long"):
        bench.redis.evalsha(script("push").sha, 3, *own, PREFIX, "cam-1", 4, 4096, entry)


def test_a_set_of_very_many_names_goes_as_a_whole(bench: QueueBench) -> None:
    """Removing a million one by one would take half a second, in which Redis serves no other client."""
    sources = keys.sources(TYPE)
    now_ms = time.time() * 1000
    for start in range(0, 20_000, 5000):
        bench.redis.zadd(sources, {f"x-{number}": now_ms + number / 1e6 for number in range(start, start + 5000)})
    bench.run_janitor()
    assert bench.redis.zcard(sources) == 0
    bench.redis.zadd(sources, {f"x-{number}": now_ms + number / 1e6 for number in range(5000)})
    bench.run_janitor()
    assert 0 < bench.redis.zcard(sources) <= 4096
